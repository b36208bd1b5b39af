"""What the pages of some claims show beyond the runs that decided: maps of trained weights, attacks, cost curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audits.claims.hubrouter._figures import exponent_text, flops_curves, perplexity_dots, time_curves
from audits.claims.judged import Report
from audits.claims.views import Audit, LeakWorth, TrainingRun, layer_costs, leak_worth, selection_attack
from audits.formatting import MISSING, Table, count, number, perplexity
from audits.report.claims.prose import empty_note
from audits.report.render.document import Picture, Section, figure_picture
from audits.report.render.influence import influence_map, largest, largest_future
from audits.report.render.marks import audit_mark
from audits.report.render.words import TIMING_NOTE

_ARMS = {"clean": "strictly causal", "council": "leaky council"}
MAP_NOTE = (
    "Each cell of a map is how much the output at a position (row) changes, in units of the output, when the token at "
    "another position (column) is replaced. Blue is the past, which a causal model may use; orange the future. An "
    "empty cell is exactly zero. The weights are trained."
)
HIDDEN_FROM_GRADIENTS = (
    "the gradient probe passes the very weights in which the perturbation probe finds a leak. Whether a hard top-k "
    "selects a token has derivative zero: a gradient check cannot see that it was selected because of the future."
)


def _worth(report: Report) -> tuple[Section, ...]:
    heading, worth = "What a leak is worth in training", leak_worth(report)
    if worth is None:
        return (Section(heading, (empty_note("Training runs"),)),)
    pictures = (*_maps(worth), figure_picture("attack-council-worth-perplexity", perplexity_dots(worth)))
    header = (
        "arm", "seed", "perplexity", "under causal mask", "bits per byte", "influence of the future", "audit", "run",
    )  # fmt: skip
    runs = Table("Training runs", header, tuple(map(_training_row, worth.runs)))
    return (Section(heading, (MAP_NOTE, _setting(worth)), pictures=pictures, folded=(runs,)),)


def _setting(worth: LeakWorth) -> str:
    """The configuration that all arms of a comparison share."""
    parts = []
    for key, value in worth.setting.items():
        shown = value.get("name", "custom") if isinstance(value, dict) else value
        parts.append(f"{key} {number(shown, 4) if isinstance(shown, float) else shown}")
    others = f"; {count(worth.other_settings, 'other setting')} in the ledger" if worth.other_settings else ""
    return f"Setting shared by all arms: {', '.join(parts) or 'not recorded'}{others}."


def _maps(worth: LeakWorth) -> list[Picture]:
    """The maps on one scale: one an arm, of the lowest seed that both arms have a map for."""
    seeds = [{run.seed for run in worth.of(arm) if run.influence} for arm in _ARMS]
    shared = sorted(set.intersection(*seeds) or set.union(*seeds))
    runs = [run for run in worth.runs if run.arm in _ARMS and run.influence and run.seed in shared[:1]]
    top = max((largest(run.influence) for run in runs), default=0.0)
    return [_map(run, top) for run in runs]


def _map(run: TrainingRun, top: float) -> Picture:
    caption = f"{_ARMS[run.arm]} (seed {run.seed})"
    future = largest_future(run.influence)
    words = f"Largest influence of the future on the past: {number(future) if future else 'exactly 0'}."
    drawing = influence_map(run.arm, caption, run.influence, top, alone=True)
    return Picture(f"attack-council-worth-{run.arm}", f"Influence map: {caption}", drawing, words, words)


def _training_row(run: TrainingRun) -> tuple[str, ...]:
    own = "diverged" if run.diverged else perplexity(run.valid_nats)
    future = number(largest_future(run.influence)) if run.influence else MISSING
    bits = number(run.bits_per_byte, 4)
    return (run.arm, str(run.seed), own, perplexity(run.clean_mask_nats), bits, future, _audit(run.audit), run.run)


def _audit(audit: Audit | None) -> str:
    """An audit's verdict with the leak classes found."""
    if audit is None:
        return "not audited"
    classes = sorted({finding.leak_class for finding in audit.findings})
    return audit_mark(audit.verdict).text + (f" ({', '.join(classes)})" if classes else "")


def _selection(report: Report) -> tuple[Section, ...]:
    heading, runs = "A leak without a gradient", selection_attack(report)
    if not runs:
        return (Section(heading, (empty_note("Selection attack"),)),)
    hidden = sum(run.gradient == "PASS" and run.perturbation == "LEAK" for run in runs)
    text = f"In {hidden} of {len(runs)} runs {HIDDEN_FROM_GRADIENTS}"
    rows = [
        (str(r.seed), audit_mark(r.gradient).text, audit_mark(r.perturbation).text, _audit(r.audit), r.run)
        for r in runs
    ]
    header = ("seed", "gradient probe", "perturbation probe", "whole audit", "run")
    return (Section(heading, (text,), tables=(Table("Selection attack", header, tuple(rows)),)),)


def _cost(report: Report) -> tuple[Section, ...]:
    costs = layer_costs(report)
    if not costs:
        return (Section("Cost of a layer", (empty_note("Layer cost"),)),)
    counted, timed = figure_picture("cost-flops", flops_curves(costs)), figure_picture("cost-time", time_curves(costs))
    flops = tuple((cost.layer, number(cost.flops_exponent)) for cost in costs)
    times = tuple((cost.layer, exponent_text(cost)) for cost in costs)
    exponents = Table("Exponent of cost in n", ("layer", "counted FLOPs"), flops)
    slopes = Table("Exponent of measured time in n", ("layer", "slope [interval]"), times)
    return (
        Section("Counted cost", pictures=(counted,), tables=(exponents,)),
        Section("Measured time", (TIMING_NOTE,), pictures=(timed,), tables=(slopes,)),
    )


# The further sections of the page of a claim.
SUPPLEMENTS: Mapping[str, Callable[[Report], tuple[Section, ...]]] = {
    "attack-council-worth": _worth,
    "attack-selection": _selection,
    "cost": _cost,
}
