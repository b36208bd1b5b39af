"""Claim `hub-gpt-ppl`: the quality cost of strict causality, three seeds an arm, the meaning of "±" unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import FAMILY, HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._parts import variants
from audits.claims.hubrouter._ratio import RULE, parts_table, ratio
from audits.claims.hubrouter._trained import (
    SEEDS,
    Models,
    Runs,
    column,
    compare,
    detectable_text,
    models,
    ratio_text,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._arm import SIZES
from audits.experiments.language_models.systems import as_large_as_jamba, own_chunk, systems
from audits.formatting import Table, p_text, percent
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.multiplicity import holm, largest_family
from audits.statistics.power import minimum_detectable_effect, power_of, seeds_needed, welch_rule
from audits.statistics.summary import Printed, Reading
from audits.statistics.t_test import TTest, welch


@dataclass(frozen=True)
class UnderReading:
    """The comparison under one reading of "±", corrected for `FAMILY` comparisons; PPL throughout."""

    reading: Reading
    test: TTest
    adjusted: float  # Holm, the other comparisons counting as p = 1
    power: float  # to find the printed difference at the corrected alpha
    detectable: float
    seeds: int | None


def under(reading: Reading, hub: Printed, baseline: Printed, family: int) -> UnderReading:
    """Welch's test, its correction, and what the design can detect, under one reading."""
    a, b = hub.read_as(reading), baseline.read_as(reading)
    test, strict = welch(a, b), ALPHA / family
    rule = welch_rule(a.sd, b.sd, min(a.n, b.n), strict)
    return UnderReading(
        reading,
        test,
        holm([test.p], family)[0].adjusted,
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
    family = f"a family of {largest_family(test.p)}"
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
    survives = min(largest_family(v.test.p) for v in views)
    held = ("under neither reading", "under one reading", "under both readings")[
        sum(view.adjusted <= ALPHA for view in views)
    ]
    return Judgement(
        verdict,
        f"Three seeds an arm: the difference of {views[0].test.difference:.1f} PPL is significant {held} of ± after "
        "correction.",
        f"The meaning of ±, the per-seed values, or {seeds} seeds an arm.",
        minimum_detectable_effect=f"{effect} ({hub.n} seeds, {percent(POWER)} power, alpha {ALPHA} over {family})",
        seeds_needed=seeds,
        details=f"{found}; corrected for {family} comparisons; under both readings it would be significant in a family "
        f"of at most {survives}. {PRINTED_ALONE}",
        tables=(comparison(views, family), design(views, family)),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(HUB_GPT, JAMBA, FAMILY), models(evidence)
    named = systems(SIZES[found.tier])
    arms = (named["Hub-GPT"], named["Jamba"])
    if not found.complete(arms):
        return replace(printed, missing=True)
    hub_gpt, jamba = (found.of(arm) for arm in arms)
    if problem := void(found.scale, [hub_gpt, jamba], [hub_gpt, jamba]):
        return replace(problem, tables=printed.tables)
    result = ratio(found, ("Hub-GPT", "Jamba"), arms, HUB_GPT.mean / JAMBA.mean)
    return Judgement(
        result.verdict,
        result.sentence,
        "The paper's scale, text and tokeniser.",
        minimum_detectable_effect=detectable_text(result.test),
        seeds_needed=result.test.seeds_needed,
        evidence=result.runs,
        details=f"{result.details} {_against(found, hub_gpt)}{found.scale}. {from_print(printed)}",
        tables=(
            parts_table(found, "What explains Hub-GPT's perplexity", {"Hub-GPT": variants(found, arms[0])}),
            result.table(),
            *printed.tables,
        ),
        figures=(_figure(found, hub_gpt, jamba), result.figure()),
        p=result.test.p,
        ours=result.ours,
    )


def _against(found: Models, hub_gpt: Runs) -> str:
    """Hub-GPT against the Transformer, and both at Jamba's size: what the hybrid's Mamba layers alone explain."""
    transformer = found.of(systems(SIZES[found.tier])["Transformer"])
    if not transformer:
        return ""
    said = f"Against the Transformer the ratio is {ratio_text(compare(hub_gpt, transformer))}"
    larger = {letter: found.of(arm) for letter, arm in as_large_as_jamba(found.tier).items()}
    if all(larger.values()) and larger:
        said += f", with both as large as Jamba {ratio_text(compare(larger['H'], larger['A']))}"
    return f"{said}. "


def _figure(found: Models, hub_gpt: Runs, jamba: Runs) -> Dots:
    named = systems(SIZES[found.tier])
    alone, transformer = found.of(own_chunk(named["Hub-GPT"])), found.of(named["Transformer"])
    columns = (
        column("Jamba", jamba),
        *((column("Transformer", transformer),) if transformer else ()),
        column("Hub-GPT, strictly causal", hub_gpt),
        *((column("Hub-GPT, own chunk alone", alone),) if alone else ()),
    )
    return Dots("The cost of strict causality", "validation perplexity", columns)


CLAIM = Claim(
    id="hub-gpt-ppl",
    statement="Strict causality has a measurable cost: Hub-GPT is about 3 PPL worse than Jamba.",
    source=f"{SOURCE}; ± is not defined there, and Jamba's number of seeds is taken to be Hub-GPT's",
    test=f"Hub-GPT and Jamba, each rate tuned, at least {SEEDS} paired seeds, both audited first. {RULE} From print "
    "alone: Welch's two-sided test with ± read as SD and as SEM, Holm over about "
    f"{FAMILY} claims (those that cannot be computed count as p = 1): SUPPORTED only if worse at alpha {ALPHA} under "
    "both readings.",
    refuted_by="A printed ratio outside our interval at every width and on both texts.",
    judge=judge,
    needs=("systems", "scaling"),
    published={"Hub-GPT PPL": str(HUB_GPT), "Jamba PPL": str(JAMBA)},
)
