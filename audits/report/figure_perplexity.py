"""The paired dot plot: one line a seed through what each arm scored, so that a gain is seen seed by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audits.report.formatting import MISSING, perplexity
from audits.report.svg import Scale, drawing, label, line, marker, path, round_ticks, upright
from audits.report.views import LeakWorth, TrainingRun

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 440.0, 330.0, 52.0, 22.0, 268.0


@dataclass(frozen=True)
class Column:
    """One way of scoring weights: [(seed, nats per token)], diverged and absent runs left out and counted."""

    title: tuple[str, str]
    style: str
    scores: tuple[tuple[int, float], ...]
    left_out: int

    @property
    def nats(self) -> float | None:
        """The mean over seeds in nats; its exponential is the geometric mean perplexity."""
        return sum(nats for _, nats in self.scores) / len(self.scores) if self.scores else None


def _column(title: tuple[str, str], style: str, runs: Sequence[tuple[TrainingRun, float | None]]) -> Column:
    """A column of the runs that have a score."""
    scores = tuple((run.seed, nats) for run, nats in runs if nats is not None and nats < 700 and not run.diverged)
    return Column(title, style, scores, len(runs) - len(scores))


def columns(worth: LeakWorth) -> tuple[Column, ...]:
    """Clean, leaky council, the same leaky weights under the clean mask, leaky selection; empty arms left out."""
    clean, council, selection = (worth.of(arm) for arm in ("clean", "council", "selection"))
    found = (
        _column(("strictly", "causal"), "arm0", [(run, run.valid_nats) for run in clean]),
        _column(("leaky council,", "its own mask"), "arm1", [(run, run.valid_nats) for run in council]),
        _column(("leaky council,", "causal mask"), "arm2", [(run, run.clean_mask_nats) for run in council]),
        _column(("leaky selection,", "its own rule"), "arm3", [(run, run.valid_nats) for run in selection]),
    )
    return tuple(column for column in found if column.scores or column.left_out)


def _scale(shown: Sequence[Column]) -> tuple[Scale, tuple[float, ...]]:
    """The vertical axis and its ticks, in perplexity."""
    values = [math.exp(nats) for column in shown for _, nats in column.scores] or [1.0]
    ticks = round_ticks(min(values), max(values))
    return Scale(ticks[0], ticks[-1], _BOTTOM, _TOP), ticks


def _dots(column: Column, index: int, x: float, y: Scale) -> str:
    """The points of a column, their mean as a bar and in words."""
    parts = []
    if column.nats is not None:
        mean = y(math.exp(column.nats))
        parts += [
            line(x - 15, mean, x + 15, mean, "mean"),
            label(x + 19, mean + 4, perplexity(column.nats), "value", "start"),
        ]
    title = " ".join(column.title)
    for seed, nats in column.scores:
        told = f"{title}, seed {seed}: perplexity {perplexity(nats)}"
        parts.append(marker(index, x, y(math.exp(nats)), f"dot {column.style}", told))
    return "".join(parts)


def _seed_lines(shown: Sequence[Column], xs: Sequence[float], y: Scale) -> str:
    """One line a seed through every column it has a score in."""
    seeds = sorted({seed for column in shown for seed, _ in column.scores})
    parts = []
    for seed in seeds:
        spots = [
            (x, y(math.exp(n))) for column, x in zip(shown, xs, strict=True) for s, n in column.scores if s == seed
        ]
        parts.append(path(spots, "pair"))
    return "".join(parts)


def perplexity_plot(name: str, worth: LeakWorth) -> str:
    """Validation perplexity, lower is better, arm by arm with the seeds joined; the bar is the geometric mean."""
    shown = columns(worth)
    y, ticks = _scale(shown)
    room = (_WIDTH - _LEFT - 34) / max(1, len(shown))
    xs = [_LEFT + room * (index + 0.5) for index in range(len(shown))]
    parts = [upright(14, (_TOP + _BOTTOM) / 2, "validation perplexity (lower is better)")]
    for tick in ticks:
        parts += [
            line(_LEFT, y(tick), _WIDTH, y(tick), "grid"),
            label(_LEFT - 6, y(tick) + 4, f"{tick:g}", anchor="end"),
        ]
    parts.append(_seed_lines(shown, xs, y))
    for index, (column, x) in enumerate(zip(shown, xs, strict=True)):
        parts += [
            _dots(column, index, x, y),
            label(x, _BOTTOM + 20, column.title[0]),
            label(x, _BOTTOM + 35, column.title[1]),
        ]
        if column.left_out:
            parts.append(label(x, _BOTTOM + 50, f"{column.left_out} without score", "tick strong"))
    means = "; ".join(f"{' '.join(c.title)} {perplexity(c.nats) if c.scores else MISSING}" for c in shown)
    return drawing(
        name, _WIDTH, _HEIGHT, "Perplexity by arm, seeds joined", f"Geometric means: {means}.", "".join(parts)
    )
