"""Axes of the generic figures: which values can be drawn, where they lie, and round ticks on linear and log scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from audits.formatting import number
from audits.report.render.svg import Scale, decades, round_ticks

_HUGE, _TINY = 1e100, 1e-100  # beyond these the arithmetic of an axis would overflow
_MOST_TICKS = 7
_NARROW = 3.0  # a log axis over less than this factor is read more easily with evenly spaced ticks (our choice)


@dataclass(frozen=True)
class Axis:
    """A scale from data to user units, and its ticks in data units."""

    scale: Scale
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Where a value lies, in user units."""
        return self.scale(value)


def drawable(value: float | None, *, log: bool) -> bool:
    """Whether an axis has a place for the value: finite, and above zero where the axis is logarithmic."""
    if value is None or not math.isfinite(value) or abs(value) > _HUGE:
        return False
    return value > _TINY if log else True


def axis(values: Sequence[float], start: float, end: float, *, log: bool) -> Axis:
    """An axis over drawable values, whose outer ticks enclose them.

    Args:
        values: data that `drawable` accepts; [0, 1] is shown where there is none.
        start: user units of the low end.
        end: user units of the high end.
        log: logarithmic; its ticks are powers of ten, or 1, 2 and 5 times them, or even steps on a narrow range.
    """
    low, high = (min(values), max(values)) if values else (0.1, 1.0) if log else (0.0, 1.0)
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)
    return Axis(Scale(ticks[0], ticks[-1], start, end, log), ticks)


def _linear_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round ticks; zero is included where the data come near it, so that small differences are not blown up."""
    largest = max(abs(low), abs(high))
    if largest < _TINY:
        return (0.0, 1.0)
    if high - low < 1e-9 * largest:  # no extent that a tick could show
        return round_ticks(min(0.0, low), max(0.0, high))
    return round_ticks(0.0 if 0 < low < 0.3 * high else low, 0.0 if 0.3 * low < high < 0 else high)


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Ticks above zero that enclose [low, high]."""
    if high / low < _NARROW:
        even = round_ticks(low, high) if high - low > 1e-9 * high else ()
        return even if even and even[0] > 0 else _one_two_five(low, high)
    powers = decades(low, high)
    if len(powers) <= 3:
        return _one_two_five(low, high)
    stride = math.ceil((len(powers) - 1) / (_MOST_TICKS - 1))
    return tuple(powers[0] * 10.0 ** (stride * index) for index in range(math.ceil((len(powers) - 1) / stride) + 1))


def _one_two_five(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 times powers of ten, from the last at or below `low` to the first at or above `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    below = [step for step in steps if step <= low * (1 + 1e-12)]
    above = [step for step in steps if step >= high * (1 - 1e-12)]
    start, end = max(below), min(above)
    return tuple(step for step in steps if start <= step <= end) if start < end else (start, 10 * start)


def tick_text(tick: float) -> str:
    """A tick without needless digits: "0.5", "250", "1e5"."""
    return number(tick, 3) if tick and not 1e-3 <= abs(tick) < 1e5 else f"{tick:.6g}"
