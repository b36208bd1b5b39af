"""Arms below each other, every run a point on a common scale: the mean as a bar, the runs of a seed joined."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes

from audits.claims.figures import DotColumn, Dots, Reference
from audits.formatting import MISSING, Table, count, number
from audits.report.render.plot import (
    GROUND,
    INK,
    LETTER,
    LINE,
    REFERENCE_DASHES,
    SOFT,
    WIDTH,
    Look,
    drawable,
    drawing,
    lines_of,
    looks,
    named,
    set_ticks,
    svg_text,
    wrapped,
)

_SIDE, _GAP = 8.0, 7.0  # points: beside the scale, and between arms
_STRIP = 22.0  # points: the height of an arm's runs
_AXIS = 1.7 * LINE  # points: below the arms, for the ticks


@dataclass(frozen=True)
class _Row:
    """One arm made ready to draw; heights in points from the top."""

    column: DotColumn
    label: str
    summary: str
    top: float
    middle: float

    @property
    def bottom(self) -> float:
        """Where the next arm may begin."""
        return self.middle + _STRIP / 2 + _GAP


def mean(column: DotColumn, *, log: bool) -> float | None:
    """The geometric mean of what a log axis shows, else the arithmetic mean; None without a value."""
    values = [value for _, value in shown(column, log=log)]
    if not values:
        return None
    total = math.fsum(map(math.log, values) if log else values) / len(values)
    return math.exp(total) if log else total


def mean_word(dots: Dots) -> str:
    """Which mean the bars show."""
    return "Geometric mean" if dots.log else "Mean"


def shown(column: DotColumn, *, log: bool) -> tuple[tuple[int, float], ...]:
    """The points that have a place on the axis, by seed."""
    return tuple(sorted(point for point in column.points if drawable(point[1], log=log)))


def left_out(column: DotColumn, *, log: bool) -> str:
    """The runs without a point, counted in words; empty where every run has one."""
    off = len(column.points) - len(shown(column, log=log))
    parts = [f"{column.failed} diverged"] if column.failed else []
    return ", ".join([*parts, *([f"{off} off the scale"] if off else [])])


def summary(column: DotColumn, *, log: bool) -> str:
    """The mean and what it is over: "4.10 (3 runs), 1 diverged"."""
    points = shown(column, log=log)
    value = f"{number(mean(column, log=log))} ({count(len(points), 'run')})" if points else "no value"
    return ", ".join(filter(None, [value, left_out(column, log=log)]))


def dots_svg(dots: Dots) -> str:
    """The drawing; empty text when no arm has a value."""
    values = [value for column in dots.columns for _, value in shown(column, log=dots.log)]
    if not values:
        return ""
    references = [r for r in dots.references if drawable(r.value, log=dots.log)]
    rows = _rows(dots)
    body, foot = rows[-1].bottom, _AXIS + LINE * lines_of(_scale_name(dots)) + LINE * len(references)
    with drawing(body + foot) as figure:
        height = body + foot
        axes = figure.add_axes((_SIDE / WIDTH, foot / height, 1 - 2 * _SIDE / WIDTH, body / height))
        axes.set_ylim(body, 0)
        _set_scale(axes, dots, [*values, *(r.value for r in references)])
        _draw_references(axes, references)
        _draw_rows(axes, dots, rows)
        if references:
            figure.legend(loc="lower left", bbox_to_anchor=(0, 0), borderaxespad=0.2, labelspacing=0.3)
        return svg_text(figure)


def _rows(dots: Dots) -> tuple[_Row, ...]:
    rows, top = [], 2.0
    for column in dots.columns:
        label, text = wrapped(column.label, WIDTH - 40), summary(column, log=dots.log)
        apart = LETTER * (len(label.rpartition("\n")[2]) * 1.15 + len(text)) > WIDTH - 3 * _SIDE
        text_height = LINE * (lines_of(label) + apart)
        rows.append(_Row(column, label, text, top, top + text_height + _STRIP / 2))
        top = rows[-1].bottom
    return tuple(rows)


def _scale_name(dots: Dots) -> str:
    return wrapped(dots.y_label + (" (log scale)" if dots.log else ""), WIDTH - 2 * _SIDE)


def _set_scale(axes: Axes, dots: Dots, values: list[float]) -> None:
    axes.set_xscale("log" if dots.log else "linear")
    axes.margins(x=0.04)
    axes.plot(values, [0.0] * len(values), alpha=0)  # widens the scale to every value and reference
    axes.set_xlabel(_scale_name(dots))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    set_ticks(axes.xaxis, values, log=dots.log)


def _draw_references(axes: Axes, references: list[Reference]) -> None:
    for index, reference in enumerate(references):
        dashes = REFERENCE_DASHES[index % len(REFERENCE_DASHES)]
        axes.axvline(reference.value, color=INK, linewidth=1, linestyle=dashes, label=named(reference))


def _draw_rows(axes: Axes, dots: Dots, rows: tuple[_Row, ...]) -> None:
    """Points of a seed have the same height in every arm, so that none hides another and lines do not cross."""
    seeds = sorted({seed for row in rows for seed, _ in shown(row.column, log=dots.log)})
    step = min(4.0, (_STRIP - 8) / max(1, len(seeds) - 1))
    lane = {seed: step * (index - (len(seeds) - 1) / 2) for index, seed in enumerate(seeds)}
    for seed in seeds if dots.joined else ():
        spots = [(x, row.middle + lane[seed]) for row in rows for s, x in shown(row.column, log=dots.log) if s == seed]
        axes.plot(*zip(*spots, strict=True), color=SOFT, alpha=0.45, linewidth=0.9, zorder=2)
    for row in rows:
        _draw_row(axes, row, looks([row.column.style])[0], lane, log=dots.log)


def _draw_row(axes: Axes, row: _Row, look: Look, lane: dict[int, float], *, log: bool) -> None:
    ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 0.6}
    across = axes.get_yaxis_transform()
    axes.text(0, row.top, row.label, transform=across, va="top", weight="bold", bbox=ground)
    axes.text(1, row.middle - _STRIP / 2 - 1, row.summary, transform=across, ha="right", va="bottom", bbox=ground)
    points = shown(row.column, log=log)
    heights = [row.middle + lane[seed] for seed, _ in points]
    axes.plot([value for _, value in points], heights, linestyle="", markersize=5.5, zorder=3, **look.markers)
    middle = mean(row.column, log=log)
    if middle is not None:
        axes.vlines(middle, row.middle - _STRIP / 2, row.middle + _STRIP / 2, color=INK, linewidth=1.8, zorder=4)


def dots_table(dots: Dots) -> Table:
    """The same in words: an arm a row, every seed's value in it."""
    rows = []
    for column in dots.columns:
        points = ", ".join(f"{seed}: {number(value, 4)}" for seed, value in sorted(column.points, key=lambda p: p[0]))
        cells = number(mean(column, log=dots.log)), str(len(column.points)), left_out(column, log=dots.log) or "none"
        rows.append((column.label, *cells, points or MISSING))
    rows += [(r.label, number(r.value), MISSING, MISSING, "a line in the figure") for r in dots.references]
    header = ("arm", mean_word(dots).lower(), "runs with a value", "without a point", f"{dots.y_label}, seed: value")
    return Table(dots.title, header, tuple(rows))
