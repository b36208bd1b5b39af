"""Claim `hub-gpt-ppl`: the quality cost of strict causality, three seeds an arm, the meaning of "±" unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import FAMILY, HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._trained import (
    SEEDS,
    Trained,
    column,
    compare,
    detectable_text,
    models,
    ratio_text,
    runs_of,
    tier_arms,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import hybrids
from audits.formatting import Table, p_text, percent
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.multiplicity import holm_among_unknown, largest_family
from audits.statistics.power import minimum_detectable_effect, power_of, seeds_needed, welch_rule
from audits.statistics.summary import Printed, Reading
from audits.statistics.welch import Welch, welch_from_print


@dataclass(frozen=True)
class UnderReading:
    """The comparison under one reading of "±", corrected for `FAMILY` comparisons; PPL throughout."""

    reading: Reading
    test: Welch
    adjusted: float  # Holm, the other comparisons counting as p = 1
    power: float  # to find the printed difference at the corrected alpha
    detectable: float
    seeds: int | None


def under(reading: Reading, hub: Printed, baseline: Printed, family: int) -> UnderReading:
    """Welch's test, its correction, and what the design can detect, under one reading."""
    test = welch_from_print(hub, baseline, reading)
    a, b = hub.read_as(reading), baseline.read_as(reading)
    strict = ALPHA / family
    rule = welch_rule(a.sd, b.sd, min(a.n, b.n), strict)
    return UnderReading(
        reading,
        test,
        holm_among_unknown(test.p, family),
        power_of(rule, test.difference),
        minimum_detectable_effect(rule, POWER),
        seeds_needed(lambda n: welch_rule(a.sd, b.sd, n, strict), test.difference, POWER),
    )


def decide(views: tuple[UnderReading, ...]) -> ClaimVerdict:
    """The rule fixed beforehand: only what holds under every reading after correction decides."""
    if any(view.adjusted > ALPHA for view in views):
        return ClaimVerdict.INCONCLUSIVE
    worse = all(view.test.difference > 0 for view in views)
    return ClaimVerdict.SUPPORTED if worse else ClaimVerdict.REFUTED


def comparison(views: tuple[UnderReading, ...], family: int) -> Table:
    """One row for each reading of "±"."""
    header = ("± read as", "difference, PPL", "95 % interval", "df", "p", f"p, Holm over {family}", "holds up to")
    return Table("Welch's test under both readings", header, tuple(_test_row(view) for view in views))


def _test_row(view: UnderReading) -> tuple[str, ...]:
    test = view.test
    interval = f"{test.interval.low:.2f} to {test.interval.high:.2f}"
    family = f"a family of {largest_family(test.p, ALPHA)}"
    p, adjusted = p_text(test.p), p_text(view.adjusted)
    return (view.reading.value, f"{test.difference:.1f}", interval, f"{test.df:.2f}", p, adjusted, family)


def design(views: tuple[UnderReading, ...], family: int) -> Table:
    """What three seeds can see, and how many are needed."""
    rows = ((v.reading.value, percent(v.power), f"{v.detectable:.1f}", str(v.seeds)) for v in views)
    title = f"What the design can detect at alpha {ALPHA} over {family} comparisons"
    detectable = f"detectable at {percent(POWER)} power, PPL"
    return Table(
        title, ("± read as", "power for the printed difference", detectable, "seeds an arm for it"), tuple(rows)
    )


def judge_printed(hub: Printed, baseline: Printed, family: int) -> Judgement:
    """The judgement on two printed arms among `family` comparisons."""
    views = tuple(under(reading, hub, baseline, family) for reading in Reading)
    verdict = decide(views)
    found = ", ".join(f"p = {p_text(v.test.p)} if ± is the {v.reading} ({p_text(v.adjusted)} corrected)" for v in views)
    seeds = max((v.seeds for v in views if v.seeds is not None), default=None)
    effect = ", ".join(f"{v.detectable:.1f} PPL if ± is the {v.reading}" for v in views)
    survives = min(largest_family(v.test.p, ALPHA) for v in views)
    held = ("under neither", "under one only", "under both")[sum(view.adjusted <= ALPHA for view in views)]
    return Judgement(
        verdict,
        f"The difference of {views[0].test.difference:.1f} PPL gives {found}; corrected for {family} comparisons it "
        f"is significant {held}; under both readings it would be in a family of at most {survives}. {PRINTED_ALONE}",
        f"The meaning of ±, the per-seed values, or {seeds} seeds an arm.",
        minimum_detectable_effect=f"{effect} ({hub.n} seeds, {percent(POWER)} power, alpha {ALPHA} over {family})",
        seeds_needed=seeds,
        tables=(comparison(views, family), design(views, family)),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(HUB_GPT, JAMBA, FAMILY), models(evidence)
    arms = tier_arms(found, hybrids.arms)
    pair = (arms[-1], arms[0])
    if not found.complete(pair):
        return replace(printed, missing=True)
    hub_gpt, jamba = found.paired(pair)
    return judge_runs(hub_gpt, jamba, found.scale, printed)


def judge_runs(hub_gpt: Sequence[Trained], jamba: Sequence[Trained], scale: str, printed: Judgement) -> Judgement:
    """The judgement on trained models; the printed numbers are reported with it."""
    if problem := void(scale, [hub_gpt, jamba], [hub_gpt, jamba]):
        return replace(problem, tables=printed.tables)
    test = compare(hub_gpt, jamba)
    worse = ClaimVerdict.SUPPORTED if test.difference > 0 else ClaimVerdict.REFUTED
    columns = (column("Jamba", jamba), column("Hub-GPT, strictly causal", hub_gpt))
    return Judgement(
        worse if test.significant else ClaimVerdict.INCONCLUSIVE,
        f"Strictly causal Hub-GPT has {ratio_text(test)} times the perplexity of Jamba (p = {p_text(test.p)}, {test.n} "
        f"paired seeds, {scale}). {from_print(printed.reason)}",
        f"{test.seeds_needed or 'More'} paired seeds at this scale, or the paper's scale.",
        minimum_detectable_effect=detectable_text(test),
        seeds_needed=test.seeds_needed,
        evidence=runs_of(hub_gpt, jamba),
        tables=printed.tables,
        figures=(Dots("The cost of strict causality", "validation perplexity", columns),),
        p=test.p,
    )


CLAIM = Claim(
    id="hub-gpt-ppl",
    statement="The strictly causal Hub-GPT has a measurable quality cost: about 3 PPL worse than Jamba.",
    source=f"{SOURCE}; ± is not defined there, and Jamba's number of seeds is taken to be Hub-GPT's",
    test=f"Hub-GPT and Jamba trained alike, at least {SEEDS} paired seeds, paired t on nats at alpha {ALPHA}, both "
    "audited first: SUPPORTED if Hub-GPT is worse. From print alone: Welch's two-sided test with ± read as SD and as "
    f"SEM, Holm over about {FAMILY} claims (those that cannot be computed count as p = 1): SUPPORTED only if worse at "
    f"alpha {ALPHA} under both readings.",
    refuted_by="Hub-GPT significantly better than Jamba; from print, under both readings after the same correction.",
    judge=judge,
    needs=("hybrids",),
    published={"Hub-GPT PPL": str(HUB_GPT), "Jamba PPL": str(JAMBA)},
)
