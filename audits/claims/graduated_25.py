"""Claim `graduated-25`: the best of several single runs against the single run of the baseline."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import ALPHA, POWER, PRINTED_ALONE, SOURCE, p_text
from audits.ledger import Evidence
from audits.statistics import best_of_p, best_of_tipping_point, seeds_needed, single_run_p, tipping_point, welch_rule

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


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed numbers."""
    return judge_printed(QUARTER_PPL, TRANSFORMER_PPL, len(SHARES) - 1)


CLAIM = Claim(
    id="graduated-25",
    statement=f"Replacing 25 % of a 12-layer Transformer's attention layers gives the best perplexity of the sweep, "
    f"{QUARTER_PPL} against {TRANSFORMER_PPL}, at a matched budget of 3000 steps.",
    source=f"{SOURCE}; it gives no number of seeds, so single runs are assumed, and so is a sweep over "
    "0, 25, 50, 75 and 100 %",
    test="With seeds: every replaced share against the Transformer by Welch's test, Holm over the shares. With single "
    "runs: NOT_TESTABLE, with the tipping point for one arm and for the best of the replaced arms.",
    refuted_by="Several seeds a share in which 25 % is not better, or a gain that only the leaky arm shows.",
    judge=judge,
    published={"25 % replaced, PPL": str(QUARTER_PPL), "pure Transformer, PPL": str(TRANSFORMER_PPL), "steps": "3000"},
)
