"""The cost of a layer against length as figures: both axes logarithmic, so that an exponent is a slope."""

from __future__ import annotations

from collections.abc import Sequence

from audits.claims.figures import CurvePoint, Curves, Series
from audits.formatting import number
from audits.report.claims.views import CostPoint, LayerCost

_LENGTH = "sequence length n"
_STYLES = {"hub": "causal"}  # every other layer is what it is compared with


def _series(cost: LayerCost, exponent: str, points: Sequence[CurvePoint]) -> Series:
    """One layer's curve, its exponent in the legend."""
    return Series(f"{cost.layer}: exponent {exponent}", _STYLES.get(cost.layer, "control"), tuple(points))


def flops_curves(costs: Sequence[LayerCost]) -> Curves:
    """Counted floating-point operations."""
    series = [
        _series(cost, number(cost.flops_exponent), [CurvePoint(p.n, p.flops) for p in cost.points if p.flops])
        for cost in costs
    ]
    note = "Counted from the operations carried out: the same on every machine. The exponent is the slope of the line."
    return Curves("Counted FLOPs", _LENGTH, "FLOPs of a layer", tuple(series), note, log_x=True, log_y=True)


def time_curves(costs: Sequence[LayerCost]) -> Curves:
    """Measured milliseconds with their intervals."""
    series = [_series(cost, exponent_text(cost), [_timed(p) for p in cost.points if p.ms_median]) for cost in costs]
    note = (
        "Wall-clock time of the same layers, median and range. The exponent is fitted over the lengths shown, where "
        "fixed overheads still weigh; it is not an asymptotic statement."
    )
    return Curves("Measured time", _LENGTH, "milliseconds", tuple(series), note, log_x=True, log_y=True)


def _timed(point: CostPoint) -> CurvePoint:
    """A measured point."""
    return CurvePoint(point.n, point.ms_median or 0.0, point.ms_low, point.ms_high)


def exponent_text(cost: LayerCost) -> str:
    """The measured exponent with its confidence interval."""
    fitted = cost.ms_exponent
    interval = f" [{number(fitted.low)}, {number(fitted.high)}]"
    return number(fitted.slope) + (interval if fitted.low is not None else "")
