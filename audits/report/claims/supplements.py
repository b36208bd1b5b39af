"""What the pages of some claims show beyond the runs that decided: maps of trained weights, attacks, cost curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from audits.claims.hubrouter._figures import flops_curves, perplexity_dots, time_curves
from audits.claims.judged import Report
from audits.claims.views import LeakWorth, TrainingRun, layer_costs, leak_worth, selection_attack
from audits.formatting import number
from audits.report.claims import prose, tables
from audits.report.render.document import Picture, Section, figure_picture
from audits.report.render.influence import influence_map, largest, largest_future
from audits.report.render.words import TIMING_NOTE

_ARMS = {"clean": "strictly causal", "council": "leaky council"}


def supplements(report: Report, claim: str) -> tuple[Section, ...]:
    """The further sections of the page of this claim; none for most."""
    return _MAKERS[claim](report) if claim in _MAKERS else ()


def _worth(report: Report) -> tuple[Section, ...]:
    """Influence maps side by side and the paired perplexities."""
    heading, worth = "What a leak is worth in training", leak_worth(report)
    if worth is None:
        return (Section(heading, (tables.empty_note("Training runs"),)),)
    text = (prose.MAP_NOTE, prose.setting_text(worth))
    pictures = (*_maps(worth), figure_picture("attack-council-worth-perplexity", perplexity_dots(worth)))
    return (Section(heading, text, pictures=pictures, folded=(tables.perplexity_table(worth),)),)


def _maps(worth: LeakWorth) -> list[Picture]:
    """The maps on one scale: one an arm, of the lowest seed that both arms have a map for."""
    seeds = [{run.seed for run in worth.of(arm) if run.influence} for arm in _ARMS]
    shared = sorted(set.intersection(*seeds) or set.union(*seeds))
    runs = [run for run in worth.runs if run.arm in _ARMS and run.influence and run.seed in shared[:1]]
    top = max((largest(run.influence) for run in runs), default=0.0)
    return [_map(run, top) for run in runs]


def _map(run: TrainingRun, top: float) -> Picture:
    title = f"Influence map: {_ARMS[run.arm]} (seed {run.seed})"
    future = largest_future(run.influence)
    words = f"Largest influence of the future on the past: {number(future) if future else 'exactly 0'}."
    drawing = influence_map(run.arm, f"{_ARMS[run.arm]} (seed {run.seed})", run.influence, top, alone=True)
    return Picture(f"attack-council-worth-{run.arm}", title, drawing, words, words)


def _selection(report: Report) -> tuple[Section, ...]:
    """Gradient against perturbation on the same weights."""
    heading, runs = "A leak without a gradient", selection_attack(report)
    if not runs:
        return (Section(heading, (tables.empty_note("Selection attack"),)),)
    hidden = sum(run.gradient == "PASS" and run.perturbation == "LEAK" for run in runs)
    text = f"In {hidden} of {len(runs)} runs {prose.HIDDEN_FROM_GRADIENTS}"
    return (Section(heading, (text,), tables=(tables.selection_table(runs),)),)


def _cost(report: Report) -> tuple[Section, ...]:
    """Counted cost, and measured cost in a section of its own."""
    costs = layer_costs(report)
    if not costs:
        return (Section("Cost of a layer", (tables.empty_note("Layer cost"),)),)
    counted, timed = figure_picture("cost-flops", flops_curves(costs)), figure_picture("cost-time", time_curves(costs))
    return (
        Section("Counted cost", pictures=(counted,), tables=(tables.exponent_table(costs),)),
        Section("Measured time", (TIMING_NOTE,), pictures=(timed,), tables=(tables.time_exponent_table(costs),)),
    )


_MAKERS: Mapping[str, Callable[[Report], tuple[Section, ...]]] = {
    "attack-council-worth": _worth,
    "attack-selection": _selection,
    "cost": _cost,
}
