"""Curves over a common axis: a marker for each measurement, its interval as a bar, the runs behind it as a count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log10

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, ScaledTranslation

from audits.claims.figures import CurvePoint, Curves, Series
from audits.formatting import MISSING, Table, number
from audits.report.render import plot
from audits.report.render.escape import printable

_HEIGHT = 180.0  # points: of the axes
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 10.0, 8.0, 31.0  # points: around the axes
_APART = 3.5  # points between the intervals of two series over the same x
_NEAR = 5.0  # points between a marker and its count


def shown(curves: Curves, series: Series) -> list[CurvePoint]:
    """The points that both axes have a place for, from left to right."""
    kept = (p for p in series.points if plot.drawable(p.x, log=curves.log_x) and plot.drawable(p.y, log=curves.log_y))
    return sorted(kept, key=lambda point: point.x)


def _off_scale(curves: Curves, series: Series) -> str:
    """How many points have no place on the axes, in words; empty where all have one."""
    off = len(series.points) - len(shown(curves, series))
    return f" ({off} off the scale)" if off else ""


def _has_interval(point: CurvePoint) -> bool:
    return point.low is not None or point.high is not None


def _has_intervals(curves: Curves) -> bool:
    return any(_has_interval(point) for series in curves.series for point in series.points)


def description(curves: Curves) -> str:
    """What the drawing shows, in words."""
    names = "; ".join(f"{s.label}: {len(shown(curves, s))} points{_off_scale(curves, s)}" for s in curves.series)
    return f"{curves.y_label} against {curves.x_label}. {names}."


def note(curves: Curves) -> str:
    """How to read it."""
    return f"{curves.note} {'Bars are intervals.' if _has_intervals(curves) else ''}".strip()


def table(curves: Curves) -> Table:
    """The numbers of the figure, a point a row."""
    rows = []
    for series in curves.series:
        for p in series.points:
            interval = f"{number(p.low)} to {number(p.high)}" if _has_interval(p) else MISSING
            rows.append((series.label, plot.tick_text(p.x), number(p.y), interval, p.count or MISSING))
    rows += [(r.label, MISSING, number(r.value), MISSING, "a line in the figure") for r in curves.references]
    return Table(curves.title, ("series", curves.x_label, curves.y_label, "interval", "runs"), tuple(rows))


def svg(curves: Curves) -> str:
    """The drawing; empty text when no series has a point."""
    drawn = [(series, points) for series in curves.series if (points := shown(curves, series))]
    if not drawn:
        return ""
    references = [r for r in curves.references if plot.drawable(r.value, log=curves.log_y)]
    names = [plot.wrapped(series.label + _off_scale(curves, series), plot.WIDTH - 60) for series, _ in drawn]
    lines = plot.height_of(*names, *map(plot.named, references)) / plot.LINE
    legend = lines * (plot.LINE + 1) + 4
    height = _TOP + _HEIGHT + _BOTTOM + legend
    with plot.drawing(height) as figure:
        across = 1 - (_LEFT + _RIGHT) / plot.WIDTH
        axes = figure.add_axes((_LEFT / plot.WIDTH, (legend + _BOTTOM) / height, across, _HEIGHT / height))
        axes.set_xscale("log" if curves.log_x else "linear")
        axes.set_yscale("log" if curves.log_y else "linear")
        looks = plot.looks([series.style for series, _ in drawn])
        for index, (name, (_, points)) in enumerate(zip(names, drawn, strict=True)):
            moved = (index - (len(drawn) - 1) / 2) * _APART if _has_intervals(curves) else 0.0
            shift = axes.transData + ScaledTranslation(moved / plot.INCH, 0, figure.dpi_scale_trans)
            axes.errorbar(
                [p.x for p in points], [p.y for p in points], _bars(points, log=curves.log_y), transform=shift,
                label=name, linewidth=1.4, elinewidth=1.1, capsize=2, zorder=3, **looks[index],
            )  # fmt: skip
        plot.draw_references(axes.axhline, references)
        points = [point for _, points in drawn for point in points]
        _set_axes(axes, curves, points, [reference.value for reference in references])
        _write_counts(figure, axes, points)
        figure.legend(loc="lower left", bbox_to_anchor=(0, 0), borderaxespad=0.2, labelspacing=0.2, handlelength=3)
        return plot.svg_text(figure)


def _ends(point: CurvePoint, *, log: bool) -> list[float]:
    """Where the interval ends; at the point itself where it has no end, or none that can be drawn."""
    return [end if end is not None and plot.drawable(end, log=log) else point.y for end in (point.low, point.high)]


def _bars(points: Sequence[CurvePoint], *, log: bool) -> list[list[float]] | None:
    """The lengths of the intervals below and above the points; None where all are 0."""
    ends = [(point.y, *_ends(point, log=log)) for point in points]
    bars = [[max(0.0, y - low) for y, low, _ in ends], [max(0.0, high - y) for y, _, high in ends]]
    return bars if any(map(any, bars)) else None


def _set_axes(axes: Axes, curves: Curves, points: Sequence[CurvePoint], references: Sequence[float]) -> None:
    """Names and ticks of both axes, and room for every value."""
    xs = sorted({point.x for point in points})
    ys = [y for point in points for y in (point.y, *_ends(point, log=curves.log_y))] + [*references]
    axes.margins(0.1)
    # What is shifted sideways does not count in matplotlib's own limits.
    axes.dataLim.update_from_data_xy([(xs[0], min(ys)), (xs[-1], max(ys))], ignore=False)
    axes.autoscale_view()
    axes.set_xlabel(plot.wrapped(curves.x_label + (" (log scale)" if curves.log_x else ""), 2 * plot.WIDTH))
    axes.set_ylabel(plot.wrapped(curves.y_label + (" (log)" if curves.log_y else ""), _HEIGHT))
    plot.set_ticks(axes.xaxis, xs, log=curves.log_x, own=_have_room(xs, log=curves.log_x))
    plot.set_ticks(axes.yaxis, axes.get_ylim(), log=curves.log_y)


def _have_room(xs: Sequence[float], *, log: bool) -> bool:
    """Whether the measured values can be written next to each other below the axis."""
    at = [log10(x) if log else x for x in xs]
    wide = (plot.WIDTH - _LEFT - _RIGHT) * 0.9 / ((at[-1] - at[0]) or 1.0)
    needed = [plot.LETTER * len(plot.tick_text(x)) + 5 for x in xs[1:]]
    return all((b - a) * wide > letters for (a, b), letters in zip(pairwise(at), needed, strict=True))


def _write_counts(figure: Figure, axes: Axes, points: Sequence[CurvePoint]) -> None:
    """The runs behind each point, right or left of it; in the table alone where neither side is free."""
    pixels = figure.dpi / plot.INCH
    spots = [Bbox.from_bounds(x - 3, y - 3, 6, 6) for x, y in axes.transData.transform([(p.x, p.y) for p in points])]
    taken = list(spots)
    for point, spot in zip(points, spots, strict=True):
        width = plot.LETTER * len(point.count) * pixels
        for side, left, away in (("left", spot.x1 + 2, _NEAR), ("right", spot.x0 - 2 - width, -_NEAR)):
            box = Bbox.from_bounds(left, spot.y1, width, plot.LINE * pixels)
            within = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and box.y1 <= axes.bbox.y1
            if point.count and within and not any(map(box.overlaps, taken)):
                taken.append(box)
                text, at = printable(point.count), (point.x, point.y)
                axes.annotate(text, at, (away, _NEAR), textcoords="offset points", ha=side)
                break
