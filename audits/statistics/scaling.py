"""How cost grows with length: the slope of a log-log line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Exponent:
    """cost ~ n ** slope, with a t confidence interval of the slope (1 is linear, 2 quadratic)."""

    slope: float
    low: float
    high: float


def scaling_exponent(n: Sequence[float], cost: Sequence[float], level: float = 0.95) -> Exponent:
    """Least squares of log cost [points] on log n [points]; costs in any unit.

    The interval treats the scatter about the line as independent noise of constant relative size. A cost that is not
    a pure power law (a linear plus a quadratic term) shows as scatter, so misfit widens the interval too.

    Raises:
        ValueError: fewer than 3 points, fewer than 2 different lengths, or a value that is not positive and finite.
    """
    x, y = np.asarray(n, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.size < 3 or np.unique(x).size < 2:
        raise ValueError("a slope with an interval needs at least 3 points and 2 different lengths; add lengths")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all() and (y > 0).all()):
        raise ValueError("lengths and costs must be positive and finite to take their logarithms")
    if not 0 < level < 1:
        raise ValueError(f"the level must lie between 0 and 1, got {level}")
    slope, error = _fit(np.log(x), np.log(y))
    half = float(stats.t.isf((1 - level) / 2, x.size - 2)) * error
    return Exponent(slope, slope - half, slope + half)


def _fit(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Least-squares slope of `y` on `x`, [points] each, and its standard error.

    By hand, because scipy's linregress reports a standard error of NaN for a perfectly flat line.
    """
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    residuals = y - slope * x
    return slope, math.sqrt(float(residuals @ residuals) / (x.size - 2) / spread)
