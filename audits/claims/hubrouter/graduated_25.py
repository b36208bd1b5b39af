"""Claim `graduated-25`: the best of several single runs against the single run of the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._parts import variants
from audits.claims.hubrouter._ratio import RULE, Ratio, parts_table, ratio
from audits.claims.hubrouter._trained import (
    SEEDS,
    Runs,
    bidirectional_text,
    column,
    compare,
    detectable_text,
    models,
    perplexity,
    ratio_text,
    runs_of,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._arm import BIDIRECTIONAL, SIZES
from audits.experiments.language_models.systems import own_chunk, replaced, systems
from audits.formatting import Table, p_text
from audits.statistics.crossed import PairedComparison
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.power import seeds_needed, welch_rule
from audits.statistics.tipping import best_of_p, best_of_tipping_point, single_run_p, tipping_point

QUARTER_PPL = 268.0
TRANSFORMER_PPL = 282.4
PRINTED_RATIO = QUARTER_PPL / TRANSFORMER_PPL
SHARES = (0, 25, 50, 75, 100)  # % of attention layers replaced; the abstract prints 0 and 25 only, the rest is assumed
ASSUMED_SDS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # PPL, our choice: a range about the tipping point


def by_assumed_sd(gap: float, arms: int) -> Table:
    """The gap's p under a range of seed SDs, for one fixed arm and for the best of `arms`."""
    rows = ((f"{sd:.0f}", p_text(single_run_p(gap, sd)), p_text(best_of_p(gap, sd, arms))) for sd in ASSUMED_SDS)
    return Table(
        f"A gap of {gap:.1f} PPL under ASSUMED seed SDs, one run an arm",
        ("assumed SD, PPL", "p, arm fixed beforehand (two-sided)", f"p, best of {arms} arms (one-sided)"),
        tuple(rows),
    )


def judge_printed(best: float, control: float, arms: int) -> Judgement:
    """The judgement on the best of `arms` single runs (PPL) against a single control (PPL)."""
    gap = control - best
    fixed, picked = tipping_point(gap, ALPHA), best_of_tipping_point(gap, arms, ALPHA)
    corrected = ALPHA / arms
    seeds = seeds_needed(lambda n: welch_rule(picked.sigma, picked.sigma, n, corrected), gap, POWER)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"Single runs, the best picked: {gap:.1f} PPL is within noise if the seed SD exceeds {picked.sigma:.2f} PPL.",
        f"{seeds} or more seeds for every share, compared with the Transformer at alpha {ALPHA} over {arms} "
        "comparisons; and the gain must survive strictly causal routing.",
        details=f"No seeds are printed, so one run an arm is assumed. For an arm fixed beforehand the limit is "
        f"{fixed.sigma:.2f} PPL. Were all arms equal, one of the {arms} replaced would still be best {arms} times "
        f"in {arms + 1}. {PRINTED_ALONE}",
        tables=(by_assumed_sd(gap, arms),),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(QUARTER_PPL, TRANSFORMER_PPL, len(SHARES) - 1), models(evidence)
    size = SIZES[found.tier]
    shares, transformer = replaced(size), systems(size)["Transformer"]
    if not shares or not found.complete((transformer, *shares.values())):
        return replace(printed, missing=True)
    control, causal = found.of(transformer), {share: found.of(arm) for share, arm in shares.items()}
    leaky = found.of(replace(shares[0.25], routing=BIDIRECTIONAL))
    if problem := void(found.scale, [control, *causal.values()], [control, *causal.values(), leaky]):
        return replace(problem, tables=printed.tables)
    result = ratio(found, ("A quarter replaced", "the Transformer"), (shares[0.25], transformer), PRINTED_RATIO)
    others = [compare(runs, causal[0.25]) for share, runs in causal.items() if share != 0.25]
    return Judgement(
        decide(result, others),
        result.sentence,
        "The paper's scale, text and tokeniser; a gain counts only if the strictly causal arm shows it.",
        minimum_detectable_effect=detectable_text(result.test),
        seeds_needed=result.test.seeds_needed,
        evidence=tuple(dict.fromkeys((*result.runs, *runs_of(*causal.values(), leaky)))),
        details=f"{result.details} {f'{bidirectional_text(leaky, control)}. ' if leaky else ''}{found.scale}. "
        f"{from_print(printed)}",
        tables=(
            _table(control, causal),
            result.table(),
            parts_table(found, "What explains it", {"25 % replaced": variants(found, shares[0.25])}),
            *printed.tables,
        ),
        figures=(_figure(control, causal, leaky, found.of(own_chunk(shares[0.25]))), result.figure()),
        p=result.test.p,
        ours=result.ours,
    )


def decide(result: Ratio, others: Sequence[PairedComparison]) -> ClaimVerdict:
    """The rule for the printed ratio; a share that is better than a quarter leaves a supported claim open."""
    beaten = any(test.significant and test.difference < 0 for test in others)
    supported = result.verdict is ClaimVerdict.SUPPORTED
    return ClaimVerdict.INCONCLUSIVE if supported and beaten else result.verdict


def _table(control: Runs, causal: Mapping[float, Runs]) -> Table:
    rows = tuple(
        (f"{100 * share:.0f} %", str(len(runs)), perplexity(runs), ratio_text(compare(runs, control)))
        for share, runs in causal.items()
    )
    none = ("0 %", str(len(control)), perplexity(control), "1")
    return Table("Perplexity by share replaced", ("replaced", "seeds", "perplexity", "/ Transformer"), (none, *rows))


def _figure(control: Runs, causal: Mapping[float, Runs], leaky: Runs, alone: Runs) -> Dots:
    columns = (
        column("Transformer", control),
        *(column(f"{100 * share:.0f} % replaced", runs) for share, runs in causal.items()),
        *((column("25 %, own chunk alone", alone),) if alone else ()),
        *((column("25 %, bidirectional", leaky),) if leaky else ()),
    )
    return Dots("Graduated replacement", "validation perplexity", columns)


CLAIM = Claim(
    id="graduated-25",
    statement="Replacing 25 % of a Transformer's attention layers gives the best perplexity.",
    source=f"{SOURCE}; it gives no number of seeds, so single runs are assumed, and so is a sweep over "
    "0, 25, 50, 75 and 100 %",
    test=f"The Transformer and every strictly causal share, each rate tuned, at least {SEEDS} paired seeds, each "
    f"audited first. {RULE} SUPPORTED only if no other share is significantly better. From print (single runs): "
    "NOT_TESTABLE, with the tipping point for one arm and for the best.",
    refuted_by="A printed ratio outside our interval at every width and on both texts.",
    judge=judge,
    needs=("systems", "scaling"),
    published={"25 % replaced, PPL": str(QUARTER_PPL), "pure Transformer, PPL": str(TRANSFORMER_PPL), "steps": "3000"},
)
