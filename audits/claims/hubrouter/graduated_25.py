"""Claim `graduated-25`: the best of several single runs against the single run of the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._replacement import Replacement, replacement_table
from audits.claims.hubrouter._trained import SEEDS, column, compare, detectable_text, losses, models, runs_of, tier_arms
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import graduated
from audits.formatting import Table, p_text
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.multiplicity import Holm, holm
from audits.statistics.power import seeds_needed, welch_rule
from audits.statistics.tipping import best_of_p, best_of_tipping_point, single_run_p, tipping_point

QUARTER_PPL = 268.0
TRANSFORMER_PPL = 282.4
SHARES = (0, 25, 50, 75, 100)  # % of attention layers replaced; the abstract prints 0 and 25 only, the rest is assumed
ASSUMED_SDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # PPL, our choice: a range about the tipping point


def by_assumed_sd(gap: float, replaced: int) -> Table:
    """The gap's p under a range of seed SDs, for one fixed arm and for the best of `replaced` arms."""
    rows = ((f"{sd:.0f}", p_text(single_run_p(gap, sd)), p_text(best_of_p(gap, sd, replaced))) for sd in ASSUMED_SDS)
    return Table(
        f"A gap of {gap:.1f} PPL under ASSUMED seed SDs, one run an arm",
        ("assumed SD, PPL", "p, arm fixed beforehand (two-sided)", f"p, best of {replaced} arms (one-sided)"),
        tuple(rows),
    )


def judge_printed(best: float, control: float, replaced: int) -> Judgement:
    """The judgement on the best of `replaced` single runs (PPL) against a single control (PPL)."""
    gap = control - best
    fixed, picked = tipping_point(gap, ALPHA), best_of_tipping_point(gap, replaced, ALPHA)
    corrected = ALPHA / replaced
    seeds = seeds_needed(lambda n: welch_rule(picked.sigma, picked.sigma, n, corrected), gap, POWER)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"No seeds are printed, so one run an arm is assumed: the gap of {gap:.1f} PPL is within noise if the seed SD "
        f"exceeds {fixed.sigma:.2f} PPL, or {picked.sigma:.2f} PPL once it counts that the best of "
        f"{replaced} replaced arms was picked. Were all arms equal, "
        f"one of the replaced would still be best {replaced} times in {replaced + 1}. {PRINTED_ALONE}",
        f"{seeds} or more seeds for every share, compared with the Transformer at alpha {ALPHA} over {replaced} "
        "comparisons; and the gain must survive strictly causal routing.",
        tables=(by_assumed_sd(gap, replaced),),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(QUARTER_PPL, TRANSFORMER_PPL, len(SHARES) - 1), models(evidence)
    arms = tier_arms(found, graduated.arms)
    if not arms or not found.complete(arms):
        return replace(printed, missing=True)
    control, *rest = found.paired(arms)
    swept = [
        Replacement(f"{100 * share:.0f} % replaced", control, causal, bidirectional)
        for share, causal, bidirectional in zip(graduated.SHARES, rest[::2], rest[1::2], strict=True)
    ]
    return judge_sweep(swept, found.scale, printed)


def decide(swept: Sequence[Replacement]) -> tuple[ClaimVerdict, Holm]:
    """The verdict on the sweep by the rule fixed beforehand, and Holm over the strictly causal shares."""
    corrected = holm([item.strict.p for item in swept], ALPHA)
    quarter = swept[0]
    means = [sum(losses(item.causal)) for item in swept]
    better = corrected.rejected[0] and quarter.strict.difference < 0
    against = [compare(other.causal, quarter.causal) for other in swept[1:]]
    beaten = any(test.significant and test.difference < 0 for test in against)
    if better and means[0] == min(means):
        return ClaimVerdict.SUPPORTED, corrected
    worse = corrected.rejected[0] and quarter.strict.difference > 0
    refuted = worse or beaten or quarter.verdict is ClaimVerdict.REFUTED
    return ClaimVerdict.REFUTED if refuted else ClaimVerdict.INCONCLUSIVE, corrected


def judge_sweep(swept: Sequence[Replacement], scale: str, printed: Judgement) -> Judgement:
    """The judgement on trained models; the printed numbers are reported with it."""
    control, quarter = swept[0].control, swept[0]
    arms = [control, *(arm for item in swept for arm in (item.causal, item.bidirectional))]
    if problem := void(scale, [control, *(item.causal for item in swept)], arms):
        return replace(problem, tables=printed.tables)
    verdict, corrected = decide(swept)
    strict = quarter.strict
    return Judgement(
        verdict,
        f"{quarter.sentence} Holm over the {len(swept)} shares leaves p = {p_text(corrected.adjusted[0])} ({scale}). "
        f"{from_print(printed.reason)}",
        f"{strict.seeds_needed or 'More'} paired seeds at this scale, or the paper's scale; a gain counts only if the "
        "strictly causal arm shows it.",
        minimum_detectable_effect=detectable_text(strict),
        seeds_needed=strict.seeds_needed,
        evidence=runs_of(*arms),
        tables=(replacement_table("Perplexity by share, geometric means over seeds", swept), *printed.tables),
        figures=_figures(swept),
        p=corrected.adjusted[0],
    )


def _figures(swept: Sequence[Replacement]) -> tuple[Dots, ...]:
    transformer = column("Transformer", swept[0].control)
    causal = tuple(column(item.name, item.causal) for item in swept)
    leaky = tuple(column(item.name, item.bidirectional) for item in swept)
    masked = tuple(column(item.name, item.bidirectional, masked=True) for item in swept)
    label = "validation perplexity"
    return (
        Dots("Graduated replacement, strictly causal routing", label, (transformer, *causal)),
        Dots("Graduated replacement, bidirectional routing as published", label, (transformer, *leaky), log=True),
        Dots("The weights of the bidirectional arms under the clean mask", label, (transformer, *masked), log=True),
    )


CLAIM = Claim(
    id="graduated-25",
    statement=f"Replacing 25 % of a 12-layer Transformer's attention layers gives the best perplexity of the sweep, "
    f"{QUARTER_PPL} against {TRANSFORMER_PPL}, at a matched budget of 3000 steps.",
    source=f"{SOURCE}; it gives no number of seeds, so single runs are assumed, and so is a sweep over "
    "0, 25, 50, 75 and 100 %",
    test=f"Every share in both arms of routing, at least {SEEDS} paired seeds, paired t on nats against the "
    f"Transformer, Holm over the shares at alpha {ALPHA}, each arm audited first: SUPPORTED if strictly causal 25 % is "
    "better and best of the sweep. From print (single runs): NOT_TESTABLE, with the tipping point for one arm and for "
    "the best.",
    refuted_by="Strictly causal 25 % worse, beaten by another share, or better only in the leaking arm.",
    judge=judge,
    needs=("graduated",),
    published={"25 % replaced, PPL": str(QUARTER_PPL), "pure Transformer, PPL": str(TRANSFORMER_PPL), "steps": "3000"},
)
