"""Curves over a common axis: a marker for each measurement, its interval as a bar, the runs behind it as a count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from textwrap import wrap

from audits.claims.figures import CurvePoint, Curves, Series
from audits.formatting import MISSING, Table, number
from audits.report.render.axes import Axis, axis, drawable, tick_text
from audits.report.render.looks import Look, legend, looks, named, reference_line, references_of
from audits.report.render.svg import Scale, drawing, element, label, line, marker, path, upright

LETTER = 6.5  # user units that a letter of a tick takes
_RADIUS = 5.0  # of a marker
_SIDES = ((7.0, -6.0, "start"), (-7.0, -6.0, "end"), (7.0, 14.0, "start"), (-7.0, 14.0, "end"))
_Box = tuple[float, float, float, float]  # left, top, right, bottom
_WIDTH, _RIGHT, _TOP, _BOTTOM = 370.0, 362.0, 18.0, 240.0
_LETTERS, _LINE = 40, 18.0  # letters that fit a line of the legend, and its height
_APART = 5.0  # user units between the intervals of two series over the same x
_ROOM = 26.0  # user units a tick of the horizontal axis needs


def point_labels(spots: Sequence[tuple[float, float, str]]) -> str:
    """The texts of the points (x, y, text) in user units; a text that finds no free place is left out."""
    taken = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y, _ in spots]
    parts = []
    for x, y, text in spots:
        for right, below, anchor in _SIDES if text else ():
            box = _box(x + right, y + below, text, anchor)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(label(x + right, y + below, text, "tick over", anchor))
                break
    return "".join(parts)


def _box(x: float, y: float, text: str, anchor: str) -> _Box:
    """The room that a text takes whose baseline is at (x, y)."""
    width = LETTER * len(text)
    left = x if anchor == "start" else x - width
    return (left, y - 9, left + width, y + 1)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def points_of(curves: Curves, series: Series) -> tuple[CurvePoint, ...]:
    """The points that both axes have a place for, from left to right."""
    kept = (p for p in series.points if drawable(p.x, log=curves.log_x) and drawable(p.y, log=curves.log_y))
    return tuple(sorted(kept, key=lambda point: point.x))


def _ends(point: CurvePoint, *, log: bool) -> tuple[float, float]:
    """Where the interval ends; at the point itself where it has no end, or none that can be drawn."""
    low = point.low if drawable(point.low, log=log) else point.y
    high = point.high if drawable(point.high, log=log) else point.y
    return (low if low is not None else point.y, high if high is not None else point.y)


def _interval(point: CurvePoint) -> str:
    """The interval in words, empty where there is none."""
    if point.low is None and point.high is None:
        return ""
    return f"{number(point.low)} to {number(point.high)}"


def _tip(point: CurvePoint, name: str) -> str:
    between = f", interval {_interval(point)}" if _interval(point) else ""
    runs = f", {point.count}" if point.count else ""
    return f"{name}, x = {tick_text(point.x)}: {number(point.y)}{between}{runs}"


def _whisker(x: float, low: float, high: float, classes: str) -> str:
    """An interval with its caps; nothing where it has no extent."""
    if abs(high - low) < 0.5:
        return ""
    style = f"whisker {classes}"
    caps = "".join(line(x - 3, y, x + 3, y, style) for y in (low, high))
    return line(x, low, x, high, style) + caps


def _series(curves: Curves, index: int, look: Look, x: Axis, y: Axis) -> str:
    series = curves.series[index]
    spots = [(point, x(point.x) + _moved(curves, index), y(point.y)) for point in points_of(curves, series)]
    parts = [_stroke([(across, up) for _, across, up in spots], look)]
    for point, across, up in spots:
        low, high = _ends(point, log=curves.log_y)
        parts.append(_whisker(across, y(low), y(high), look.classes))
        parts.append(marker(look.shape, across, up, f"dot {look.classes}", _tip(point, series.label)))
    return "".join(parts)


def _moved(curves: Curves, index: int) -> float:
    """How far a series is shifted, so that its intervals do not hide another's."""
    return (index - (len(curves.series) - 1) / 2) * _APART if _intervals(curves) else 0.0


def _counts(curves: Curves, x: Axis, y: Axis) -> str:
    """The number of runs next to each point; only in tooltip and table where there is no room for it."""
    spots = [
        (x(point.x) + _moved(curves, index), y(point.y), point.count)
        for index, series in enumerate(curves.series)
        for point in points_of(curves, series)
    ]
    return point_labels(spots)


def _intervals(curves: Curves) -> bool:
    """Whether any point has an interval, so that series over the same x must be shifted."""
    return any(_interval(point) for series in curves.series for point in series.points)


def _stroke(spots: Iterable[tuple[float, float]], look: Look) -> str:
    drawn = path(spots, f"curve {look.classes}")
    return element("g", {"stroke-dasharray": look.dash}, drawn) if drawn and look.dash else drawn


def _legend(curves: Curves, styles: Sequence[Look], left: float, top: float) -> tuple[str, float]:
    """A sample and the name of each series, and how high they are together."""
    parts, y = [], top
    for series, look in zip(curves.series, styles, strict=True):
        parts.append(_stroke([(left, y - 4), (left + 34, y - 4)], look))
        parts.append(marker(look.shape, left + 17, y - 4, f"dot {look.classes}", series.label))
        for text in wrap(series.label + _missing(curves, series), _LETTERS) or [""]:
            parts.append(label(left + 44, y, text, "value", "start"))
            y += _LINE
    return "".join(parts), y - top


def _missing(curves: Curves, series: Series) -> str:
    """How many points have no place on the axes."""
    off = len(series.points) - len(points_of(curves, series))
    return f" ({off} off the scale)" if off else ""


def _x_ticks(x: Axis, values: Iterable[float]) -> tuple[float, ...]:
    """The measured values where their texts fit next to each other, else round values."""
    own = sorted(set(values))
    near = any(x(b) - x(a) < max(_ROOM, LETTER * len(tick_text(b)) + 6) for a, b in pairwise(own))
    return x.ticks if near else tuple(own)


def _frame(curves: Curves, x: Axis, y: Axis, ticks: Sequence[float], left: float) -> str:
    parts = [upright(12, (_TOP + _BOTTOM) / 2, curves.y_label + (" (log)" if curves.log_y else ""))]
    for tick in y.ticks:
        parts.append(line(left, y(tick), _RIGHT, y(tick), "grid"))
        parts.append(label(left - 6, y(tick) + 4, tick_text(tick), anchor="end"))
    parts += [label(x(tick), _BOTTOM + 17, tick_text(tick)) for tick in ticks]
    words = curves.x_label + (" (log scale)" if curves.log_x else "")
    return "".join([*parts, label((left + _RIGHT) / 2, _BOTTOM + 36, words, "axis")])


def _narrow(x: Axis, values: Sequence[float], *, log: bool) -> Axis:
    """The axis without the empty ends that round ticks leave: a horizontal axis ends with its data."""
    low, high = min(values), max(values)
    return Axis(Scale(low, high, x.scale.start, x.scale.end, log), tuple(t for t in x.ticks if low <= t <= high))


def curves_plot(name: str, curves: Curves) -> str:
    """The drawing, `name` unique on its page; empty text when no series has a point."""
    points = [point for series in curves.series for point in points_of(curves, series)]
    if not points:
        return ""
    xs = [point.x for point in points]
    references = references_of(curves)
    ends = [end for p in points for end in (*_ends(p, log=curves.log_y), p.y)]
    y = axis([*ends, *(reference.value for reference in references)], _BOTTOM, _TOP, log=curves.log_y)
    left = 34 + LETTER * max(len(tick_text(tick)) for tick in y.ticks)
    x = _narrow(axis(xs, left + 16, _RIGHT - 20, log=curves.log_x), xs, log=curves.log_x)
    styles = looks([series.style for series in curves.series])
    parts = [_frame(curves, x, y, _x_ticks(x, xs), left)]
    parts += [reference_line(index, (left, y(r.value)), (_RIGHT, y(r.value))) for index, r in enumerate(references)]
    parts += [_series(curves, index, look, x, y) for index, look in enumerate(styles)]
    parts.append(_counts(curves, x, y))
    samples, high = _legend(curves, styles, left, _BOTTOM + 62)
    lines, more = legend(references, left, _BOTTOM + 62 + high)
    names = "; ".join(f"{s.label}: {len(points_of(curves, s))} points{_missing(curves, s)}" for s in curves.series)
    summary = f"{curves.y_label} against {curves.x_label}. {'; '.join([names, *map(named, references)])}."
    return drawing(name, _WIDTH, _BOTTOM + 50 + high + more, curves.title, summary, "".join(parts) + samples + lines)


def curves_table(curves: Curves) -> Table:
    """The same in words: a point a row."""
    rows = [
        (series.label, tick_text(p.x), number(p.y), _interval(p) or MISSING, p.count or MISSING)
        for series in curves.series
        for p in series.points
    ]
    rows += [(r.label, "everywhere", number(r.value), MISSING, MISSING) for r in references_of(curves)]
    return Table(curves.title, ("series", curves.x_label, curves.y_label, "interval", "runs"), tuple(rows))
