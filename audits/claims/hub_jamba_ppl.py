"""Claim `hub-jamba-ppl`: a perplexity gap between two single runs."""

from __future__ import annotations

from audits.claim import Claim, ClaimVerdict, Judgement, Table
from audits.claims._paper import ALPHA, HUB_GPT, JAMBA, POWER, PRINTED_ALONE, SOURCE, p_text, percent
from audits.ledger import Evidence
from audits.statistics import (
    Printed,
    Reading,
    borrowed_p,
    sd_interval,
    seeds_needed,
    single_run_p,
    tipping_point,
    welch_rule,
)

HUB_JAMBA_PPL = 200.2
JAMBA_PPL = 209.0
LENDERS = (("Hub-GPT", HUB_GPT), ("Jamba beside Hub-GPT", JAMBA))


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
        f"One run an arm: the gap of {gap:.1f} PPL has no noise of its own to be compared with, and is within noise if "
        f"the seed SD exceeds {tip.sigma:.2f} PPL (two-sided, alpha {ALPHA}). SDs borrowed from the paper's other runs "
        f"would put it outside noise (p at most {p_text(worst)}), but they belong to other models and, at 3 runs each, "
        f"allow SDs up to {above:.1f}. {PRINTED_ALONE}",
        f"Both models trained with {seeds} or more seeds an arm: enough for this gap ({percent(POWER)} power) even "
        "at the tipping point. First both must pass the causality gate.",
        tables=(sensitivity(gap),),
    )


def judge(_evidence: Evidence) -> Judgement:
    """Judge from the printed numbers."""
    return judge_printed(HUB_JAMBA_PPL, JAMBA_PPL)


CLAIM = Claim(
    id="hub-jamba-ppl",
    statement=f"Hub-Jamba reaches a perplexity of {HUB_JAMBA_PPL} against Jamba's {JAMBA_PPL:.1f}, "
    f"{100 * (1 - HUB_JAMBA_PPL / JAMBA_PPL):.1f} % better.",
    source=f"{SOURCE}; the abstract itself calls it a single seed, possibly within seed noise",
    test="With at least 2 seeds an arm: Welch's two-sided test at alpha 0.05. With one seed an arm there is no test: "
    "NOT_TESTABLE, with the seed SD at which the gap would be exactly significant, and borrowed SDs marked as such.",
    refuted_by="Several seeds an arm in which causal Hub-Jamba is not better, or a gap that only a leaky arm shows.",
    judge=judge,
    published={"Hub-Jamba PPL (1 seed)": str(HUB_JAMBA_PPL), "Jamba PPL (1 seed)": str(JAMBA_PPL)},
)
