"""Claim `hub-jamba-ppl`: a perplexity gap between two single runs."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._parts import variants
from audits.claims.hubrouter._ratio import RULE, parts_table, ratio
from audits.claims.hubrouter._trained import (
    SEEDS,
    Runs,
    bidirectional_text,
    column,
    compare,
    detectable_text,
    models,
    ratio_text,
    runs_of,
)
from audits.evidence.ledger import Evidence
from audits.experiments.language_models._arm import SIZES
from audits.experiments.language_models.systems import own_chunk, systems
from audits.formatting import Table, p_text, percent
from audits.statistics.levels import ALPHA, POWER
from audits.statistics.power import seeds_needed, welch_rule
from audits.statistics.summary import Printed, Reading, sd_interval
from audits.statistics.tipping import borrowed_p, single_run_p, tipping_point

HUB_JAMBA_PPL = 200.2
JAMBA_PPL = 209.0
LENDERS = (("Hub-GPT", HUB_GPT), ("Jamba compared with Hub-GPT", JAMBA))


def sensitivity(gap: float) -> Table:
    """What the gap (PPL) would be worth under seed SDs the paper prints for other comparisons."""
    rows = (_row(gap, name, lender, reading) for name, lender in LENDERS for reading in Reading)
    return Table(
        "Sensitivity with BORROWED seed SDs (printed for other runs, not measured on these), one run an arm",
        (
            "SD borrowed from",
            "± read as",
            "SD, PPL",
            "95 % interval of that SD",
            "p, SD taken as exact",
            "p, SD from 3 runs",
        ),
        tuple(rows),
    )


def _row(gap: float, name: str, lender: Printed, reading: Reading) -> tuple[str, ...]:
    summary = lender.read_as(reading)
    bounds = sd_interval(summary.sd, summary.n - 1)
    exact, estimated = single_run_p(gap, summary.sd), borrowed_p(gap, summary)
    interval = f"{bounds.low:.2f} to {bounds.high:.2f}"
    return (name, reading.value, f"{summary.sd:.2f}", interval, p_text(exact), p_text(estimated))


def judge_printed(hub: float, baseline: float) -> Judgement:
    """The judgement on one run (`hub`, PPL) against one run (`baseline`, PPL): no test exists, only a tipping point."""
    gap = baseline - hub
    tip = tipping_point(gap, ALPHA)
    lent = [lender.read_as(reading) for _, lender in LENDERS for reading in Reading]
    worst = max(borrowed_p(gap, summary) for summary in lent)
    above = max(sd_interval(summary.sd, summary.n - 1).high for summary in lent)
    seeds = seeds_needed(lambda n: welch_rule(tip.sigma, tip.sigma, n, ALPHA), gap, POWER)
    return Judgement(
        ClaimVerdict.NOT_TESTABLE,
        f"One run an arm: the gap of {gap:.1f} PPL is within noise if the seed SD exceeds {tip.sigma:.2f} PPL.",
        f"Both models trained with {seeds} or more seeds an arm: enough for this gap ({percent(POWER)} power) even "
        "at the tipping point. First both must pass the causality gate.",
        details=f"Two-sided, alpha {ALPHA}. SDs borrowed from the paper's other runs would put the gap outside noise "
        f"(p at most {p_text(worst)}), but they belong to other models and, at 3 runs each, allow SDs up to "
        f"{above:.1f}. {PRINTED_ALONE}",
        tables=(sensitivity(gap),),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(HUB_JAMBA_PPL, JAMBA_PPL), models(evidence)
    named = systems(SIZES[found.tier])
    arms = tuple(named[name] for name in ("Hub-Jamba", "Jamba", "Hub-Jamba, bidirectional"))
    if not found.complete(arms):
        return replace(printed, missing=True)
    hybrid, jamba, leaky = (found.of(arm) for arm in arms)
    if problem := void(found.scale, [hybrid, jamba], [hybrid, jamba, leaky]):
        return replace(problem, tables=printed.tables)
    result = ratio(found, ("Hub-Jamba", "Jamba"), (arms[0], arms[1]), HUB_JAMBA_PPL / JAMBA_PPL)
    return Judgement(
        result.verdict,
        result.sentence,
        "The paper's scale, text and tokeniser; for SUPPORTED the strictly causal arm has to be better by the printed "
        "ratio.",
        minimum_detectable_effect=detectable_text(result.test),
        seeds_needed=result.test.seeds_needed,
        evidence=tuple(dict.fromkeys((*result.runs, *runs_of(leaky)))),
        details=f"{result.details} {bidirectional_text(leaky, jamba)}; its weights under the clean mask have "
        f"{ratio_text(compare(leaky, jamba, masked=True))}. {found.scale}. {from_print(printed)}",
        tables=(
            parts_table(found, "What explains Hub-Jamba's perplexity", {"Hub-Jamba": variants(found, arms[0])}),
            result.table(),
            *printed.tables,
        ),
        figures=(_figure(hybrid, jamba, leaky, found.of(own_chunk(arms[0]))), result.figure()),
        p=result.test.p,
        ours=result.ours,
    )


def _figure(hybrid: Runs, jamba: Runs, leaky: Runs, alone: Runs) -> Dots:
    return Dots(
        "Which gain survives strict causality",
        "validation perplexity",
        (
            column("Jamba (attention)", jamba),
            column("Hub-Jamba, strictly causal", hybrid),
            *((column("the same, own chunk alone", alone),) if alone else ()),
            column("Hub-Jamba, bidirectional", leaky),
            column("the same weights, clean mask", leaky, masked=True),
        ),
        log=True,
    )


CLAIM = Claim(
    id="hub-jamba-ppl",
    statement=f"Hub-Jamba's perplexity is {100 * (1 - HUB_JAMBA_PPL / JAMBA_PPL):.1f} % better than Jamba's.",
    source=f"{SOURCE}; the abstract itself calls it a single seed, possibly within seed noise",
    test=f"Jamba and strictly causal Hub-Jamba, each rate tuned, at least {SEEDS} paired seeds, both audited first. "
    f"{RULE} From print alone (one seed an arm): NOT_TESTABLE.",
    refuted_by="A printed ratio outside our interval at every width and on both texts.",
    judge=judge,
    needs=("systems", "scaling"),
    published={"Hub-Jamba PPL (1 seed)": str(HUB_JAMBA_PPL), "Jamba PPL (1 seed)": str(JAMBA_PPL)},
)
