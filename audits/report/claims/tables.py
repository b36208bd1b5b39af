"""The tables that belong to the figures, as text cells; each renderer only draws them."""

from __future__ import annotations

from audits.claims.claim import JudgedClaim, Judgement, Kind
from audits.claims.hubrouter._figures import exponent_text
from audits.claims.judged import NO_RUN, Report
from audits.claims.views import Audit, LayerCost, LeakWorth, SelectionRun, TrainingRun
from audits.formatting import MISSING, Table, number, perplexity
from audits.report.claims.marks import outcome
from audits.report.render.influence import largest_future
from audits.report.render.marks import audit_mark
from audits.statistics.levels import ALPHA


def audit_word(audit: Audit | None) -> str:
    """An audit's verdict with the leak classes found."""
    if audit is None:
        return "not audited"
    classes = sorted({finding.leak_class for finding in audit.findings})
    return audit_mark(audit.verdict).text + (f" ({', '.join(classes)})" if classes else "")


def _training_row(run: TrainingRun) -> tuple[str, ...]:
    own = "diverged" if run.diverged else perplexity(run.valid_nats)
    future = number(largest_future(run.influence)) if run.influence else MISSING
    bits = number(run.bits_per_byte, 4)
    return (run.arm, str(run.seed), own, perplexity(run.clean_mask_nats), bits, future, audit_word(run.audit), run.run)


def perplexity_table(worth: LeakWorth) -> Table:
    """Every training run of the setting shown."""
    losses = ("perplexity", "under causal mask", "bits per byte")
    header = ("arm", "seed", *losses, "influence of the future", "audit", "run")
    return Table("Training runs", header, tuple(_training_row(run) for run in worth.runs))


def exponent_table(costs: tuple[LayerCost, ...]) -> Table:
    """The fitted exponents of counted operations: the same on every machine."""
    rows = [(cost.layer, number(cost.flops_exponent)) for cost in costs]
    return Table("Exponent of cost in n", ("layer", "counted FLOPs"), tuple(rows))


def time_exponent_table(costs: tuple[LayerCost, ...]) -> Table:
    """The exponents fitted to measured times."""
    rows = [(cost.layer, exponent_text(cost)) for cost in costs]
    return Table("Exponent of measured time in n", ("layer", "slope [interval]"), tuple(rows))


def selection_table(runs: tuple[SelectionRun, ...]) -> Table:
    """What gradient and perturbation say about the same weights."""
    rows = [
        (str(r.seed), audit_mark(r.gradient).text, audit_mark(r.perturbation).text, audit_word(r.audit), r.run)
        for r in runs
    ]
    return Table(
        "Selection attack", ("seed", "gradient probe", "perturbation probe", "whole audit", "run"), tuple(rows)
    )


def tiers_table(item: JudgedClaim) -> Table:
    """The verdict at every tier that has evidence of its own, the one that is shown first."""
    rows = []
    for at in item.at_every_tier:
        expected = "not reviewed" if at.expected is None else str(at.expected)
        runs = f"{len(at.judgement.evidence)}" + (f", {len(at.stale)} stale" if at.stale else "")
        rows.append((at.tier, outcome(at).text, expected, runs, at.judgement.reason))
    return Table("The claim at every tier", ("tier", "verdict", "expected", "runs", "reason"), tuple(rows))


def needs_text(item: JudgedClaim) -> str:
    """The experiments a claim reads, and that none was run where that is so."""
    names = ", ".join(item.claim.needs) or "none"
    return f"{names}: {NO_RUN}" if item.judgement.missing else names


def detectable_text(judgement: Judgement) -> str | None:
    """Minimum detectable effect and seeds needed, where the judgement states them."""
    parts = []
    if judgement.minimum_detectable_effect is not None:
        parts.append(f"minimum detectable effect: {judgement.minimum_detectable_effect}")
    if judgement.seeds_needed is not None:
        parts.append(f"seeds needed: {judgement.seeds_needed}")
    return "; ".join(parts) or None


def corrected_text(report: Report, item: JudgedClaim) -> str | None:
    """The deciding p value before and after the correction over all of the paper's claims."""
    found = report.corrected.get(item.claim.id)
    if found is None:
        return None
    family = sum(other.claim.kind is Kind.PUBLISHED for other in report.judged)
    kept = (
        "still significant" if found.rejected else "not significant any more" if found.p <= ALPHA else "open before too"
    )
    return f"p = {number(found.p)}; corrected by Holm over the paper's {family} claims {number(found.adjusted)}: {kept}"


def empty_note(what: str) -> str:
    """The sentence in place of a figure."""
    return f"{what}: {NO_RUN}."
