"""Curves over a common axis: a marker for each measurement, its interval as a bar, the runs behind it as a count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log10

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox, ScaledTranslation

from audits.claims.figures import CurvePoint, Curves, Series
from audits.formatting import MISSING, Table, number
from audits.report.render.escape import printable
from audits.report.render.plot import (
    INCH,
    INK,
    LETTER,
    LINE,
    REFERENCE_DASHES,
    WIDTH,
    Look,
    drawable,
    drawing,
    lines_of,
    looks,
    named,
    set_ticks,
    svg_text,
    tick_text,
    wrapped,
)

_HEIGHT = 180.0  # points: of the axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 10.0, 8.0, 31.0  # points: around the axes
_APART = 3.5  # points between the intervals of two series over the same x
_NEAR = 5.0  # points between a marker and its count


def points_of(curves: Curves, series: Series) -> tuple[CurvePoint, ...]:
    """The points that both axes have a place for, from left to right."""
    kept = (p for p in series.points if drawable(p.x, log=curves.log_x) and drawable(p.y, log=curves.log_y))
    return tuple(sorted(kept, key=lambda point: point.x))


def missing(curves: Curves, series: Series) -> str:
    """How many points have no place on the axes, in words; empty where all have one."""
    off = len(series.points) - len(points_of(curves, series))
    return f" ({off} off the scale)" if off else ""


def has_intervals(curves: Curves) -> bool:
    """Whether any point has an interval."""
    return any(p.low is not None or p.high is not None for series in curves.series for p in series.points)


def curves_svg(curves: Curves) -> str:
    """The drawing; empty text when no series has a point."""
    kept = {id(series): points_of(curves, series) for series in curves.series}
    if not any(kept.values()):
        return ""
    drawn = [series for series in curves.series if kept[id(series)]]
    names = [wrapped(series.label + missing(curves, series), WIDTH - 60) for series in drawn]
    references = [r for r in curves.references if drawable(r.value, log=curves.log_y)]
    names += [wrapped(named(reference), WIDTH - 60) for reference in references]
    legend = sum(map(lines_of, names)) * (LINE + 1) + 4
    height = _TOP + _HEIGHT + _BOTTOM + legend
    with drawing(height) as figure:
        box = (_LEFT / WIDTH, (legend + _BOTTOM) / height, 1 - (_LEFT + _RIGHT) / WIDTH, _HEIGHT / height)
        axes = figure.add_axes(box)
        axes.set_xscale("log" if curves.log_x else "linear")
        axes.set_yscale("log" if curves.log_y else "linear")
        for index, (series, look) in enumerate(zip(drawn, looks([s.style for s in drawn]), strict=True)):
            moved = (index - (len(drawn) - 1) / 2) * _APART if has_intervals(curves) else 0.0
            _draw(axes, kept[id(series)], look, names[index], moved, log=curves.log_y)
        for index, reference in enumerate(references):
            dashes = REFERENCE_DASHES[index % len(REFERENCE_DASHES)]
            name = names[len(drawn) + index]
            axes.axhline(reference.value, color=INK, linewidth=1, linestyle=dashes, label=name, zorder=1.5)
        _name_axes(axes, curves, [point for points in kept.values() for point in points])
        figure.legend(loc="lower left", bbox_to_anchor=(0, 0), borderaxespad=0.2, labelspacing=0.2, handlelength=3)
        return svg_text(figure)


def _draw(axes: Axes, points: Sequence[CurvePoint], look: Look, name: str, moved: float, *, log: bool) -> None:
    """One series, moved sideways by some points so that its intervals do not hide another's."""
    ends = [_ends(point, log=log) for point in points]
    below = [max(0.0, p.y - low) for p, (low, _) in zip(points, ends, strict=True)]
    above = [max(0.0, high - p.y) for p, (_, high) in zip(points, ends, strict=True)]
    figure = axes.get_figure(root=True)
    assert figure is not None
    shift = axes.transData + ScaledTranslation(moved / INCH, 0, figure.dpi_scale_trans)
    axes.errorbar(
        [p.x for p in points], [p.y for p in points], [below, above] if any(below + above) else None,
        transform=shift, label=name, color=look.colour, linestyle=look.dashes, linewidth=1.4, elinewidth=1.1,
        capsize=2, markersize=5.5, zorder=3, **look.markers,
    )  # fmt: skip


def _ends(point: CurvePoint, *, log: bool) -> tuple[float, float]:
    """Where the interval ends; at the point itself where it has no end, or none that can be drawn."""
    low, high = (end if end is not None and drawable(end, log=log) else point.y for end in (point.low, point.high))
    return low, high


def _name_axes(axes: Axes, curves: Curves, points: Sequence[CurvePoint]) -> None:
    """Names and ticks of both axes, and the counts where there is room for them."""
    xs = sorted({point.x for point in points})
    ends = [end for point in points for end in (point.y, *_ends(point, log=curves.log_y))]
    _set_limits(axes, xs, [*ends, *(r.value for r in curves.references if drawable(r.value, log=curves.log_y))])
    axes.set_xlabel(wrapped(curves.x_label + (" (log scale)" if curves.log_x else ""), 2 * WIDTH))
    axes.set_ylabel(wrapped(curves.y_label + (" (log)" if curves.log_y else ""), _HEIGHT))
    set_ticks(axes.xaxis, xs, log=curves.log_x, own=_have_room(xs, log=curves.log_x))
    set_ticks(axes.yaxis, axes.get_ylim(), log=curves.log_y)
    _write_counts(axes, points)


def _set_limits(axes: Axes, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Room for every value; what is shifted sideways does not count in matplotlib's own limits."""
    axes.margins(0.1)
    axes.dataLim.update_from_data_xy([(xs[0], min(ys)), (xs[-1], max(ys))], ignore=False)
    axes.autoscale_view()


def _write_counts(axes: Axes, points: Sequence[CurvePoint]) -> None:
    """The runs behind each point, right or left of it; in the table alone where neither side is free."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    pixels = figure.dpi / INCH
    spots = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in axes.transData.transform([(p.x, p.y) for p in points])]
    taken = list(spots)
    for point, spot in zip(points, spots, strict=True):
        width = LETTER * len(point.count) * pixels
        for side, left in (("left", spot.x1 + 2), ("right", spot.x0 - 2 - width)):
            box = Bbox.from_bounds(left, spot.y1, width, LINE * pixels)
            within = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and box.y1 <= axes.bbox.y1
            if point.count and within and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                away = (_NEAR if side == "left" else -_NEAR, _NEAR)
                axes.annotate(printable(point.count), (point.x, point.y), away, textcoords="offset points", ha=side)
                break


def _have_room(xs: Sequence[float], *, log: bool) -> bool:
    """Whether the measured values can be written next to each other below the axis."""
    at = [log10(x) if log else x for x in xs]
    wide = (WIDTH - _LEFT - _RIGHT) * 0.9 / ((at[-1] - at[0]) or 1.0)
    return all((b - a) * wide > LETTER * len(tick_text(x)) + 5 for (a, b), x in zip(pairwise(at), xs[1:], strict=True))


def curves_table(curves: Curves) -> Table:
    """The numbers of the figure, a point a row."""
    rows = [
        (series.label, tick_text(p.x), number(p.y), _interval(p), p.count or MISSING)
        for series in curves.series
        for p in series.points
    ]
    rows += [(r.label, MISSING, number(r.value), MISSING, "a line in the figure") for r in curves.references]
    return Table(curves.title, ("series", curves.x_label, curves.y_label, "interval", "runs"), tuple(rows))


def _interval(point: CurvePoint) -> str:
    """The interval in words."""
    known = point.low is not None or point.high is not None
    return f"{number(point.low)} to {number(point.high)}" if known else MISSING
