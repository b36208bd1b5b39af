"""Arms below each other, every seed a point on a common scale: the mean as a bar, the seeds of a pair joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from audits.claims.figures import DotColumn, Dots
from audits.formatting import MISSING, Table, count, number
from audits.report.render.axes import Axis, axis, drawable, tick_text
from audits.report.render.looks import legend, named, reference_line, references_of, shape_of
from audits.report.render.svg import drawing, label, line, marker, path

_WIDTH, _LEFT, _RIGHT = 370.0, 12.0, 358.0  # as wide as a phone, where text would shrink with a wider one
_LETTERS = 52  # that fit a line of the drawing
_BOLD = 45  # that fit it in bold
_LINE, _LANE, _GAP = 16.0, 9.0, 11.0  # heights: a line of text, a lane of points, the space between arms
_TOUCH = 11.0  # points nearer than this would hide each other


@dataclass(frozen=True)
class _Row:
    """One arm made ready to draw: its text, and where its strip of points lies (user units)."""

    column: DotColumn
    texts: tuple[tuple[str, str, str], ...]  # text, style, anchor; several may share a line
    lines: int
    spots: tuple[tuple[int, float, float, int], ...]  # seed, value, x, lane
    top: float

    @property
    def middle(self) -> float:
        """The height of lane 0."""
        return self.top + self.lines * _LINE + self.half

    @property
    def half(self) -> float:
        """Half the height of the strip of points."""
        return _LANE * (1 + max((abs(lane) for *_, lane in self.spots), default=0))


def mean(column: DotColumn, *, log: bool) -> float | None:
    """The geometric mean of what a log axis shows, else the arithmetic mean; None without a value."""
    values = shown(column, log=log)
    if not values:
        return None
    if log:
        return math.exp(math.fsum(math.log(value) for _, value in values) / len(values))
    return math.fsum(value for _, value in values) / len(values)


def shown(column: DotColumn, *, log: bool) -> tuple[tuple[int, float], ...]:
    """The points that have a place on the axis, by seed."""
    return tuple(sorted(point for point in column.points if drawable(point[1], log=log)))


def left_out(column: DotColumn, *, log: bool) -> str:
    """The runs without a point, counted in words; empty where every run has one."""
    off = len(column.points) - len(shown(column, log=log))
    parts = [f"{column.failed} diverged"] if column.failed else []
    return ", ".join([*parts, *([f"{off} off the scale"] if off else [])])


def _summary(column: DotColumn, *, log: bool) -> str:
    points = shown(column, log=log)
    parts = [f"{number(mean(column, log=log))} ({count(len(points), 'run')})"] if points else ["no value"]
    return ", ".join([*parts, *filter(None, [left_out(column, log=log)])])


def _lanes(values: Sequence[tuple[int, float]], x: Axis) -> tuple[tuple[int, float, float, int], ...]:
    """Points one above the other where they would overlap: lanes 0, 1, -1, 2 … from the middle outwards."""
    ends: dict[int, float] = {}
    placed = []
    for seed, value in sorted(values, key=lambda point: (point[1], point[0])):
        at = x(value)
        order = sorted(range(-len(values), len(values) + 1), key=lambda lane: (abs(lane), -lane))
        lane = next(lane for lane in order if at - ends.get(lane, -math.inf) >= _TOUCH)
        ends[lane] = at
        placed.append((seed, value, at, lane))
    return tuple(placed)


def _texts(column: DotColumn, *, log: bool) -> tuple[tuple[tuple[str, str, str], ...], int]:
    """The arm's name on the left and its summary on the right, on one line where both fit."""
    name, summary = wrap(column.label, _BOLD) or [""], _summary(column, log=log)
    apart = len(name[-1]) + len(summary) > _BOLD
    texts = [(text, "value strong", "start") for text in name] + [(summary, "value", "end")]
    return tuple(texts), len(name) + apart


def _rows(dots: Dots, x: Axis) -> tuple[_Row, ...]:
    rows, top = [], 4.0
    for column in dots.columns:
        texts, lines = _texts(column, log=dots.log)
        rows.append(_Row(column, texts, lines, _lanes(shown(column, log=dots.log), x), top))
        top = rows[-1].middle + rows[-1].half + _GAP
    return tuple(rows)


def _row(row: _Row, dots: Dots, x: Axis) -> str:
    parts = []
    for index, (text, style, anchor) in enumerate(row.texts):
        y = row.top + _LINE * (min(index, row.lines - 1) + 0.75)
        parts.append(label(_LEFT if anchor == "start" else _RIGHT, y, text, f"{style} over", anchor))
    middle = mean(row.column, log=dots.log)
    if middle is not None:
        parts.append(line(x(middle), row.middle - row.half, x(middle), row.middle + row.half, "mean"))
    for seed, value, at, lane in row.spots:
        tip = f"{row.column.label}, seed {seed}: {number(value, 4)}"
        style = f"dot {row.column.style}"
        parts.append(marker(shape_of(row.column.style), at, row.middle + lane * _LANE, style, tip))
    return "".join(parts)


def _pairs(rows: Sequence[_Row]) -> str:
    """One line a seed through every arm it has a point in."""
    parts = []
    for seed in sorted({seed for row in rows for seed, *_ in row.spots}):
        spots = [(at, row.middle + lane * _LANE) for row in rows for own, _, at, lane in row.spots if own == seed]
        parts.append(path(spots, "pair") if len(spots) > 1 else "")
    return "".join(parts)


def _scale(x: Axis, bottom: float, name: str, *, log: bool) -> str:
    """The axis below the arms, its grid behind them."""
    parts = [line(x(tick), 0, x(tick), bottom, "grid") for tick in x.ticks]
    parts += [label(x(tick), bottom + 14, tick_text(tick)) for tick in x.ticks]
    words = wrap(name + (" (log scale)" if log else ""), _LETTERS)
    parts += [label((_LEFT + _RIGHT) / 2, bottom + 32 + _LINE * i, text, "axis") for i, text in enumerate(words)]
    return "".join(parts)


def dots_plot(name: str, dots: Dots) -> str:
    """The drawing, `name` unique on its page; empty text when no arm has a value."""
    values = [value for column in dots.columns for _, value in shown(column, log=dots.log)]
    if not values:
        return ""
    references = references_of(dots)
    x = axis([*values, *(reference.value for reference in references)], _LEFT + 6, _RIGHT - 10, log=dots.log)
    rows = _rows(dots, x)
    bottom = rows[-1].middle + rows[-1].half + 4
    parts = [_scale(x, bottom, dots.y_label, log=dots.log)]
    parts += [reference_line(index, (x(r.value), 0), (x(r.value), bottom)) for index, r in enumerate(references)]
    parts += [_pairs(rows) if dots.joined else "", *(_row(row, dots, x) for row in rows)]
    height = bottom + 28 + _LINE * max(1, len(wrap(dots.y_label + " (log scale)", _LETTERS)))
    lines, high = legend(references, _LEFT, height + 8)
    description = "; ".join(f"{column.label}: {_summary(column, log=dots.log)}" for column in dots.columns)
    description = f"{mean_word(dots)} of {dots.y_label}. {'; '.join([description, *map(named, references)])}."
    return drawing(name, _WIDTH, height + high, dots.title, description, "".join(parts) + lines)


def mean_word(dots: Dots) -> str:
    """Which mean the bars show."""
    return "Geometric mean" if dots.log else "Mean"


def dots_table(dots: Dots) -> Table:
    """The same in words: an arm a row, every seed's value in it."""
    rows = []
    for column in dots.columns:
        points = ", ".join(f"{seed}: {number(value, 4)}" for seed, value in sorted(column.points, key=lambda p: p[0]))
        cells = number(mean(column, log=dots.log)), str(len(column.points)), left_out(column, log=dots.log) or "none"
        rows.append((column.label, *cells, points or MISSING))
    rows += [(r.label, number(r.value), MISSING, MISSING, "a line in the figure") for r in references_of(dots)]
    header = ("arm", mean_word(dots).lower(), "runs with a value", "without a point", f"{dots.y_label}, seed: value")
    return Table(dots.title, header, tuple(rows))
