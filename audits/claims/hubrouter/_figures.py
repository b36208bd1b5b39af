"""The figures that the report itself makes of the evidence: perplexity arm by arm, and cost against length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audits.claims.figures import CurvePoint, Curves, DotColumn, DotPoint, Dots, Series
from audits.claims.views import CostPoint, LayerCost, LeakWorth, TrainingRun
from audits.formatting import number, perplexity

CLEAN, COUNCIL, MASKED, SELECTION = (
    "strictly causal",
    "leaky council, its own mask",
    "same weights, causal mask",
    "leaky selection, its own rule",
)
_LARGEST_NATS = 700.0  # beyond it a perplexity has no float
_LENGTH = "sequence length n"
_STYLES = {"hub": "causal"}  # all other layers are its comparison


@dataclass(frozen=True)
class Column:
    """One way of scoring weights: [(seed, nats per token)], diverged and absent runs left out and counted."""

    title: str
    style: str
    scores: tuple[tuple[int, float], ...]
    left_out: int

    @property
    def nats(self) -> float | None:
        """The mean over seeds in nats; its exponential is the geometric mean perplexity."""
        return sum(nats for _, nats in self.scores) / len(self.scores) if self.scores else None


def _column(title: str, style: str, runs: Sequence[tuple[TrainingRun, float | None]]) -> Column:
    """A column of the runs that have a score."""
    scores = ((run.seed, nats) for run, nats in runs if nats is not None and nats < _LARGEST_NATS and not run.diverged)
    kept = tuple(scores)
    return Column(title, style, kept, len(runs) - len(kept))


def columns(worth: LeakWorth) -> tuple[Column, ...]:
    """Clean, leaky council, the same leaky weights under the clean mask, leaky selection; empty arms left out."""
    clean, council, selection = (worth.of(arm) for arm in ("clean", "council", "selection"))
    found = (
        _column(CLEAN, "causal", [(run, run.valid_nats) for run in clean]),
        _column(COUNCIL, "leaky", [(run, run.valid_nats) for run in council]),
        _column(MASKED, "masked", [(run, run.clean_mask_nats) for run in council]),
        _column(SELECTION, "other", [(run, run.valid_nats) for run in selection]),
    )
    return tuple(column for column in found if column.scores or column.left_out)


def perplexity_dots(worth: LeakWorth) -> Dots:
    """Validation perplexity arm by arm; on its log axis the mean of a column is the geometric one."""
    shown = tuple(
        DotColumn(c.title, c.style, tuple(DotPoint(seed, math.exp(nats)) for seed, nats in c.scores), c.left_out)
        for c in columns(worth)
    )
    unigram = next((run.unigram_nats for run in worth.runs if run.unigram_nats is not None), None)
    known = f" A unigram model of the corpus has {perplexity(unigram)}." if unigram is not None else ""
    note = (
        "An improvement that reverses once the same weights may not use later tokens comes from those tokens." + known
    )
    return Dots("Validation perplexity, arm by arm", "validation perplexity (lower is better)", shown, note, log=True)


def _series(cost: LayerCost, exponent: str, points: Sequence[CurvePoint]) -> Series:
    return Series(f"{cost.layer}: exponent {exponent}", _STYLES.get(cost.layer, "control"), tuple(points))


def flops_curves(costs: Sequence[LayerCost]) -> Curves:
    """Counted floating-point operations."""
    series = [
        _series(cost, number(cost.flops_exponent), [CurvePoint(p.n, p.flops) for p in cost.points if p.flops])
        for cost in costs
    ]
    note = "Counted from the operations executed: the same on every machine. The exponent is the slope of the line."
    return Curves("Counted FLOPs", _LENGTH, "FLOPs of a layer", tuple(series), note, log_x=True, log_y=True)


def time_curves(costs: Sequence[LayerCost]) -> Curves:
    """Measured milliseconds with their intervals."""
    series = [_series(cost, exponent_text(cost), [_timed(p) for p in cost.points if p.ms_median]) for cost in costs]
    note = (
        "Wall-clock time of the same layers, median and range. The exponent is fitted over the lengths shown, where "
        "fixed overheads still count; it is not an asymptotic statement."
    )
    return Curves("Measured time", _LENGTH, "milliseconds", tuple(series), note, log_x=True, log_y=True)


def _timed(point: CostPoint) -> CurvePoint:
    return CurvePoint(point.n, point.ms_median or 0.0, point.ms_low, point.ms_high)


def exponent_text(cost: LayerCost) -> str:
    """The measured exponent with its confidence interval."""
    fitted = cost.ms_exponent
    interval = f" [{number(fitted.low)}, {number(fitted.high)}]"
    return number(fitted.slope) + (interval if fitted.low is not None else "")
