"""Arms below each other, every run a point on a common scale: the mean as a bar, the runs of a seed joined."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, geometric_mean

from matplotlib.axes import Axes

from audits.claims.figures import DotColumn, DotPoint, Dots
from audits.formatting import MISSING, Table, count, number
from audits.report.render import plot

_SIDE, _GAP = 8.0, 7.0  # points: beside the scale, and between arms
_STRIP = 22.0  # points: the height of an arm's runs
_AXIS = 1.7 * plot.LINE  # points: below the arms, for the ticks


def shown(column: DotColumn, *, log: bool) -> list[DotPoint]:
    """The points that have a place on the axis, by seed."""
    return sorted(point for point in column.points if plot.drawable(point.value, log=log))


def mean(column: DotColumn, *, log: bool) -> float | None:
    """The geometric mean of what a log axis shows, else the arithmetic mean; None without a value."""
    values = [point.value for point in shown(column, log=log)]
    average = geometric_mean if log else fmean
    return average(values) if values else None


def left_out(column: DotColumn, *, log: bool) -> str:
    """The runs without a point, counted in words; empty where every run has one."""
    counts = {"diverged": column.failed, "off the scale": len(column.points) - len(shown(column, log=log))}
    return ", ".join(f"{amount} {why}" for why, amount in counts.items() if amount)


def summary(column: DotColumn, *, log: bool) -> str:
    """The mean and what it is over: "4.10 (3 runs), 1 diverged"."""
    runs = len(shown(column, log=log))
    value = f"{number(mean(column, log=log))} ({count(runs, 'run')})" if runs else "no value"
    return ", ".join(filter(None, [value, left_out(column, log=log)]))


def _mean_word(dots: Dots) -> str:
    return "Geometric mean" if dots.log else "Mean"


def description(dots: Dots) -> str:
    """What the drawing shows, in words."""
    arms = "; ".join(f"{column.label}: {summary(column, log=dots.log)}" for column in dots.columns)
    return f"{_mean_word(dots)} of {dots.y_label}. {arms}."


def note(dots: Dots) -> str:
    """How to read it."""
    joined = "; a line joins the runs of one seed" if dots.joined and len(dots.columns) > 1 else ""
    return f"{dots.note} Each point is a run, the bar the {_mean_word(dots).lower()}{joined}.".strip()


def table(dots: Dots) -> Table:
    """The same in words: an arm a row, every seed's value in it."""
    rows = []
    for column in dots.columns:
        points = sorted(column.points, key=lambda point: point.seed)
        cells = number(mean(column, log=dots.log)), str(len(points)), left_out(column, log=dots.log) or "none"
        rows.append((column.label, *cells, ", ".join(f"{p.seed}: {number(p.value, 4)}" for p in points) or MISSING))
    rows += [(r.label, number(r.value), MISSING, MISSING, "a line in the figure") for r in dots.references]
    header = ("arm", _mean_word(dots).lower(), "runs with a value", "without a point", f"{dots.y_label}, seed: value")
    return Table(dots.title, header, tuple(rows))


def svg(dots: Dots) -> str:
    """The drawing; empty text when no arm has a value."""
    values = [point.value for column in dots.columns for point in shown(column, log=dots.log)]
    if not values:
        return ""
    references = [r for r in dots.references if plot.drawable(r.value, log=dots.log)]
    values += [reference.value for reference in references]
    scale = plot.wrapped(dots.y_label + (" (log scale)" if dots.log else ""), plot.WIDTH - 2 * _SIDE)
    labels = [plot.wrapped(column.label, plot.WIDTH - 40) for column in dots.columns]
    tops = _tops(dots, labels)
    body, foot = tops[-1], _AXIS + plot.height_of(scale, *map(plot.named, references))
    with plot.drawing(body + foot) as figure:
        axes = figure.add_axes(
            (_SIDE / plot.WIDTH, foot / (body + foot), 1 - 2 * _SIDE / plot.WIDTH, body / (body + foot))
        )
        axes.set_ylim(body, 0)
        axes.set_xscale("log" if dots.log else "linear")
        axes.margins(x=0.04)
        axes.plot(values, [0.0] * len(values), alpha=0)  # widens the scale to every value and reference
        axes.set_xlabel(scale)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        plot.set_ticks(axes.xaxis, values, log=dots.log)
        plot.draw_references(axes.axvline, references)
        _draw_arms(axes, dots, labels, tops)
        if references:
            figure.legend(loc="lower left", bbox_to_anchor=(0, 0), borderaxespad=0.2, labelspacing=0.3)
        return plot.svg_text(figure)


def _tops(dots: Dots, labels: Sequence[str]) -> list[float]:
    """Where each arm begins, in points from the top, and where the last one ends."""
    tops = [2.0]
    for column, label in zip(dots.columns, labels, strict=True):
        letters = len(label.rpartition("\n")[2]) * 1.15 + len(summary(column, log=dots.log))
        apart = plot.LINE if plot.LETTER * letters > plot.WIDTH - 3 * _SIDE else 0.0
        tops.append(tops[-1] + plot.height_of(label) + apart + _STRIP + _GAP)
    return tops


def _draw_arms(axes: Axes, dots: Dots, labels: Sequence[str], tops: Sequence[float]) -> None:
    """Points of a seed have the same height in every arm, so that none hides another and lines do not cross."""
    runs = [shown(column, log=dots.log) for column in dots.columns]
    middles = [bottom - _GAP - _STRIP / 2 for bottom in tops[1:]]
    seeds = sorted({point.seed for points in runs for point in points})
    step = min(4.0, (_STRIP - 8) / max(1, len(seeds) - 1))
    lane = {seed: step * (index - (len(seeds) - 1) / 2) for index, seed in enumerate(seeds)}
    placed = [(p, middle + lane[p.seed]) for points, middle in zip(runs, middles, strict=True) for p in points]
    for seed in seeds if dots.joined else ():
        spots = [(point.value, height) for point, height in placed if point.seed == seed]
        axes.plot(*zip(*spots, strict=True), color=plot.SOFT, alpha=0.45, linewidth=0.9, zorder=2)
    across = axes.get_yaxis_transform()
    ground = {"facecolor": plot.GROUND, "edgecolor": "none", "pad": 0.6}
    for column, points, label, top, middle in zip(dots.columns, runs, labels, tops, middles, strict=False):
        above, text = middle - _STRIP / 2, summary(column, log=dots.log)
        axes.text(0, top, label, transform=across, va="top", weight="bold", bbox=ground)
        axes.text(1, above - 1, text, transform=across, ha="right", va="bottom", bbox=ground)
        look = plot.looks([column.style])[0] | {"linestyle": ""}
        axes.plot([p.value for p in points], [middle + lane[p.seed] for p in points], zorder=3, **look)
        if (average := mean(column, log=dots.log)) is not None:
            axes.vlines(average, above, middle + _STRIP / 2, color=plot.INK, linewidth=1.8, zorder=4)
