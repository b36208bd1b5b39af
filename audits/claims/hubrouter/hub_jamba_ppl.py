"""Claim `hub-jamba-ppl`: a perplexity gap between two single runs."""

from __future__ import annotations

from dataclasses import replace

from audits.claims.claim import Claim, ClaimVerdict, Judgement
from audits.claims.figures import Dots
from audits.claims.hubrouter._gate import void
from audits.claims.hubrouter._paper import HUB_GPT, JAMBA, PRINTED_ALONE, SOURCE, from_print
from audits.claims.hubrouter._replacement import Replacement, replacement_table
from audits.claims.hubrouter._trained import SEEDS, column, detectable_text, models, runs_of, tier_arms
from audits.evidence.ledger import Evidence
from audits.experiments.language_models import hybrids
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
        f"One run an arm: the gap of {gap:.1f} PPL has no noise of its own to be compared with, and is within noise if "
        f"the seed SD exceeds {tip.sigma:.2f} PPL (two-sided, alpha {ALPHA}). SDs borrowed from the paper's other runs "
        f"would put it outside noise (p at most {p_text(worst)}), but they belong to other models and, at 3 runs each, "
        f"allow SDs up to {above:.1f}. {PRINTED_ALONE}",
        f"Both models trained with {seeds} or more seeds an arm: enough for this gap ({percent(POWER)} power) even "
        "at the tipping point. First both must pass the causality gate.",
        tables=(sensitivity(gap),),
    )


def judge(evidence: Evidence) -> Judgement:
    """Judge by the runs; from the printed numbers alone where there are too few."""
    printed, found = judge_printed(HUB_JAMBA_PPL, JAMBA_PPL), models(evidence)
    arms = tier_arms(found, hybrids.arms)[:3]
    if not found.complete(arms):
        return replace(printed, missing=True)
    jamba, causal, bidirectional = found.paired(arms)
    return judge_runs(Replacement("Hub-Jamba", jamba, causal, bidirectional), found.scale, printed)


def judge_runs(found: Replacement, scale: str, printed: Judgement) -> Judgement:
    """The judgement on trained models; the printed numbers are reported with it."""
    arms = (found.control, found.causal, found.bidirectional)
    if problem := void(scale, [found.control, found.causal], arms):
        return replace(problem, tables=printed.tables)
    strict = found.strict
    return Judgement(
        found.verdict,
        f"{found.sentence} ({scale}.) {from_print(printed.reason)}",
        f"{strict.seeds_needed or 'More'} paired seeds at this scale, or the paper's scale; for SUPPORTED the strictly "
        "causal arm has to be better.",
        minimum_detectable_effect=detectable_text(strict),
        seeds_needed=strict.seeds_needed,
        evidence=runs_of(*arms),
        tables=(replacement_table("Perplexity, geometric means over seeds", [found]), *printed.tables),
        figures=(_figure(found),),
        p=strict.p,
    )


def _figure(found: Replacement) -> Dots:
    return Dots(
        "Which gain survives strict causality",
        "validation perplexity",
        (
            column("Jamba (attention)", found.control),
            column("Hub-Jamba, strictly causal", found.causal),
            column("Hub-Jamba, bidirectional", found.bidirectional),
            column("the same weights, clean mask", found.bidirectional, masked=True),
        ),
        log=True,
    )


CLAIM = Claim(
    id="hub-jamba-ppl",
    statement=f"Hub-Jamba reaches a perplexity of {HUB_JAMBA_PPL} against Jamba's {JAMBA_PPL:.1f}, "
    f"{100 * (1 - HUB_JAMBA_PPL / JAMBA_PPL):.1f} % better.",
    source=f"{SOURCE}; the abstract itself calls it a single seed, possibly within seed noise",
    test=f"Jamba and Hub-Jamba in both arms of routing, at least {SEEDS} paired seeds, paired t on nats at alpha "
    f"{ALPHA}, each arm audited first: SUPPORTED if strictly causal Hub-Jamba is better, REFUTED if it is worse or if "
    "only a leaking arm is better. From print alone (one seed an arm): NOT_TESTABLE, with the seed SD at which the gap "
    "would be exactly significant, and borrowed SDs marked as such.",
    refuted_by="Several seeds an arm in which causal Hub-Jamba is not better, or a gap that only a leaky arm shows.",
    judge=judge,
    needs=("hybrids",),
    published={"Hub-Jamba PPL (1 seed)": str(HUB_JAMBA_PPL), "Jamba PPL (1 seed)": str(JAMBA_PPL)},
)
