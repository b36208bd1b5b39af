"""The cost curve: cost of a layer against sequence length, both axes logarithmic, so that an exponent is a slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audits.report.formatting import number
from audits.report.svg import Scale, decades, drawing, label, line, marker, path, upright
from audits.report.views import LayerCost

_WIDTH, _LEFT, _TOP, _BOTTOM = 400.0, 58.0, 34.0, 270.0


@dataclass(frozen=True)
class Spot:
    """A cost at one length, with the ends of its interval (equal to the cost where it is counted, not measured)."""

    n: int
    cost: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """One layer's line and what the legend says of its exponent."""

    title: str
    spots: tuple[Spot, ...]


def flops_curves(costs: Sequence[LayerCost]) -> tuple[Curve, ...]:
    """Counted floating-point operations."""
    return tuple(
        Curve(
            f"{cost.layer}: exponent {number(cost.flops_exponent)}",
            tuple(Spot(p.n, p.flops, p.flops, p.flops) for p in cost.points if p.flops),
        )
        for cost in costs
    )


def time_curves(costs: Sequence[LayerCost]) -> tuple[Curve, ...]:
    """Measured milliseconds with their intervals."""
    return tuple(
        Curve(
            f"{cost.layer}: exponent {exponent_text(cost)}",
            tuple(Spot(p.n, p.ms, p.ms_low or p.ms, p.ms_high or p.ms) for p in cost.points if p.ms),
        )
        for cost in costs
    )


def exponent_text(cost: LayerCost) -> str:
    """The measured exponent with its confidence interval."""
    interval = f" [{number(cost.ms_exponent_low)}, {number(cost.ms_exponent_high)}]"
    return number(cost.ms_exponent) + (interval if cost.ms_exponent_low is not None else "")


def _curve(index: int, curve: Curve, x: Scale, y: Scale) -> str:
    """A line with its intervals and markers."""
    parts = [path([(x(s.n), y(s.cost)) for s in curve.spots], f"curve arm{index % 4}")]
    for spot in curve.spots:
        parts.append(line(x(spot.n), y(spot.low), x(spot.n), y(spot.high), f"whisker arm{index % 4}"))
        told = f"{curve.title.split(':')[0]}, n = {spot.n}: {number(spot.cost)}"
        parts.append(marker(index, x(spot.n), y(spot.cost), f"dot arm{index % 4}", told))
    return "".join(parts)


def _legend(index: int, title: str) -> str:
    """A line of the legend, below the plot."""
    y = _BOTTOM + 60 + index * 19
    sample = path([(_LEFT, y - 4), (_LEFT + 34, y - 4)], f"curve arm{index % 4}")
    return (
        sample
        + marker(index, _LEFT + 17, y - 4, f"dot arm{index % 4}", title)
        + label(_LEFT + 44, y, title, "value", "start")
    )


def cost_plot(name: str, heading: str, unit: str, curves: Sequence[Curve]) -> str:
    """Cost (`unit`) against sequence length n; empty text when no curve has a point."""
    spots = [spot for curve in curves for spot in curve.spots]
    if not spots:
        return ""
    ticks = decades(min(s.low for s in spots), max(s.high for s in spots))
    lengths = sorted({s.n for s in spots})
    x = Scale(lengths[0], lengths[-1], _LEFT + 14, _WIDTH - 22, log=True)
    y = Scale(ticks[0], ticks[-1], _BOTTOM, _TOP, log=True)
    parts = [label(_LEFT, 18, heading, "heading", "start"), upright(14, (_TOP + _BOTTOM) / 2, unit)]
    for tick in ticks:
        parts += [
            line(_LEFT, y(tick), _WIDTH - 6, y(tick), "grid"),
            label(_LEFT - 6, y(tick) + 4, number(tick, 1), anchor="end"),
        ]
    parts += [label(x(n), _BOTTOM + 17, str(n)) for n in lengths]
    parts.append(label((_LEFT + _WIDTH) / 2, _BOTTOM + 35, "sequence length n (log scale)", "axis"))
    parts += [_curve(index, curve, x, y) + _legend(index, curve.title) for index, curve in enumerate(curves)]
    told = "; ".join(curve.title for curve in curves)
    return drawing(
        name, _WIDTH, _BOTTOM + 60 + 19 * len(curves), heading, f"{unit} against length. {told}.", "".join(parts)
    )
