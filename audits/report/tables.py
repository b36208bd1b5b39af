"""The tables that belong to the figures, as text cells; each renderer only draws them."""

from __future__ import annotations

from audits.claim import Judgement, Table
from audits.report.document import NO_RUN, Report
from audits.report.figure_cost import exponent_text
from audits.report.figure_influence import largest_future
from audits.report.figure_kill_matrix import named_text
from audits.report.figure_perplexity import columns
from audits.report.formatting import MISSING, number, perplexity
from audits.report.marks import audit_mark
from audits.report.views import KillMatrix, LayerCost, LeakWorth, SelectionRun, TrainingRun
from audits.verdicts import AuditResult


def audit_word(audit: AuditResult | None) -> str:
    """An audit's verdict with the leak classes found."""
    if audit is None:
        return "not audited"
    classes = sorted({str(finding.leak_class) for finding in audit.findings})
    return audit_mark(audit.verdict).text + (f" ({', '.join(classes)})" if classes else "")


def _training_row(run: TrainingRun) -> tuple[str, ...]:
    """One run of the perplexity table."""
    own = "diverged" if run.diverged else perplexity(run.valid_nats)
    felt = number(largest_future(run.influence)) if run.influence else MISSING
    bits = number(run.bits_per_byte, 4)
    return (run.arm, str(run.seed), own, perplexity(run.clean_mask_nats), bits, felt, audit_word(run.audit), run.run)


def perplexity_table(worth: LeakWorth) -> Table:
    """Every training run of the setting shown."""
    header = (
        "arm",
        "seed",
        "perplexity",
        "under causal mask",
        "bits per byte",
        "influence of the future",
        "audit",
        "run",
    )
    return Table("Training runs", header, tuple(_training_row(run) for run in worth.runs))


def means_table(worth: LeakWorth) -> Table:
    """The geometric mean perplexity of each way of scoring."""
    rows = [(" ".join(c.title), perplexity(c.nats), str(len(c.scores)), str(c.left_out)) for c in columns(worth)]
    unigram = next((run.unigram_nats for run in worth.runs if run.unigram_nats is not None), None)
    rows.append(("unigram model of the corpus", perplexity(unigram), MISSING, MISSING))
    header = ("arm", "perplexity", "seeds", "left out")
    return Table("Geometric mean perplexity; left out: diverged or not scored", header, tuple(rows))


def kill_table(matrix: KillMatrix) -> Table:
    """The kill matrix in words: leaky verdict / clean verdict."""
    rows = []
    for twin in matrix.twins:
        cells = (
            f"{audit_mark(twin.leaky.get(probe, '')).word} / {audit_mark(twin.clean.get(probe, '')).word}"
            for probe in matrix.probes
        )
        rows.append((twin.name, twin.leak_class, named_text(twin), *cells))
    return Table(
        "Verdict on the leaky twin / on the clean twin", ("twin", "class", "named", *matrix.probes), tuple(rows)
    )


def flops_table(costs: tuple[LayerCost, ...]) -> Table:
    """Counted operations: the same on every machine."""
    rows = [(cost.layer, str(point.n), number(point.flops, 4)) for cost in costs for point in cost.points]
    return Table("Counted FLOPs", ("layer", "n", "FLOPs"), tuple(rows))


def time_table(costs: tuple[LayerCost, ...]) -> Table:
    """Measured times: different on every machine and in every run."""
    rows = [
        (cost.layer, str(point.n), number(point.ms), f"{number(point.ms_low)} to {number(point.ms_high)}")
        for cost in costs
        for point in cost.points
    ]
    return Table("Measured time", ("layer", "n", "median, ms", "range, ms"), tuple(rows))


def exponent_table(costs: tuple[LayerCost, ...]) -> Table:
    """The fitted exponents of both."""
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


def evidence_table(report: Report, judgement: Judgement) -> Table:
    """The runs that decided a claim; hashes the ledger does not hold are said to be missing."""
    known = {record.run: record for record in report.evidence.records}
    rows = []
    for run in judgement.evidence:
        record = known.get(run)
        arm = (
            next((str(record.config[k]) for k in ("arm", "twin", "layer") if k in record.config), "") if record else ""
        )
        place = (record.experiment, arm or "-", str(record.seed)) if record else ("not in the ledger", "-", "-")
        rows.append((run, *place))
    return Table("Runs that decided", ("run", "experiment", "arm", "seed"), tuple(rows))


def needs_text(report: Report, needs: tuple[str, ...]) -> str:
    """The experiments a claim reads and how many runs of each there are."""
    if not needs:
        return "none"
    return "; ".join(f"{need}: {report.runs_of(need)}" for need in needs)


def detectable_text(judgement: Judgement) -> str | None:
    """Minimum detectable effect and seeds needed, where the judgement states them."""
    parts = []
    if judgement.minimum_detectable_effect is not None:
        parts.append(f"minimum detectable effect: {judgement.minimum_detectable_effect}")
    if judgement.seeds_needed is not None:
        parts.append(f"seeds needed: {judgement.seeds_needed}")
    return "; ".join(parts) or None


def empty_note(what: str) -> str:
    """What stands where a figure would be."""
    return f"{what}: {NO_RUN}."
