"""One run against one run: the noise is unknown, so how large would it have to be to explain the gap?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.integrate import trapezoid
from scipy.optimize import brentq

from audits.statistics.summary import Summary

GRID = 4001  # points of the quadrature over the control's noise; the normal density beyond 9 SD is below 1e-18


@dataclass(frozen=True)
class TippingPoint:
    """The seed SD above which a gap between single runs is within noise at `alpha`, in the units of the gap."""

    gap: float
    alpha: float
    sigma: float


def tipping_point(gap: float, alpha: float = 0.05) -> TippingPoint:
    """The SD at which the two-sided z test of one run against one run is exactly at `alpha`.

    The difference of two independent runs of SD sigma has SD sqrt(2) * sigma. Raises ValueError without a gap.
    """
    _check(gap, alpha)
    return TippingPoint(abs(gap), alpha, abs(gap) / (math.sqrt(2) * float(stats.norm.isf(alpha / 2))))


def single_run_p(gap: float, sd: float) -> float:
    """Two-sided p of a gap between two single runs if the seed SD were known to be `sd`."""
    if sd <= 0:
        raise ValueError(f"the seed SD must be positive, got {sd}")
    return 2 * float(stats.norm.sf(abs(gap) / (math.sqrt(2) * sd)))


def borrowed_p(gap: float, borrowed: Summary) -> float:
    """As `single_run_p`, the SD estimated from `borrowed.n` runs of another system: Student's t with n - 1 df.

    Raises ValueError where that has fewer than 2 runs or no spread.
    """
    if borrowed.n < 2 or borrowed.sd <= 0:
        raise ValueError("an SD can be borrowed only from at least 2 runs that differ")
    return 2 * float(stats.t.sf(abs(gap) / (math.sqrt(2) * borrowed.sd), borrowed.n - 1))


def best_of_p(gap: float, sd: float, arms: int) -> float:
    """How often the best of `arms` single runs beats a single control by at least `gap` if all are equally good.

    One-sided, because the best arm was chosen for its direction; the arms share the control, whose noise is
    integrated out numerically. Raises ValueError without a positive gap or SD, or an arm.
    """
    if gap <= 0 or sd <= 0 or arms < 1:
        raise ValueError(f"need gap > 0, sd > 0 and arms >= 1, got {gap}, {sd}, {arms}")
    control = np.linspace(-9.0, 9.0, GRID)
    beaten = -np.expm1(arms * stats.norm.logsf(control - gap / sd))  # 1 - P(an arm is not that far below)^arms
    return float(trapezoid(stats.norm.pdf(control) * beaten, control))


def best_of_tipping_point(gap: float, arms: int, alpha: float = 0.05) -> TippingPoint:
    """The seed SD above which the best of `arms` beating the control by `gap` is within noise; errors as above."""
    _check(gap, alpha)
    gap = abs(gap)
    upper = brentq(lambda log_sd: best_of_p(gap, gap * math.exp(log_sd), arms) - alpha, -3.0, 6.0, xtol=1e-10)
    return TippingPoint(gap, alpha, gap * math.exp(upper))


def _check(gap: float, alpha: float) -> None:
    if not math.isfinite(gap) or gap == 0:
        raise ValueError(f"a tipping point needs a gap that is finite and not zero, got {gap}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
