"""Equivalence (TOST): "has little effect" needs a margin and a proof that the effect lies inside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from audits.statistics.power import variance_ratios
from audits.statistics.summary import summarise
from audits.statistics.t_test import TTest, paired, welch


@dataclass(frozen=True)
class Equivalence:
    """The larger of the two one-sided p values for |difference| >= margin: small means equivalent within the margin.

    `provable` is the smallest margin that these very values prove at alpha, the larger end of the interval at level
    1 - 2 alpha. It serves to plan the next study: a margin chosen after seeing it proves nothing.
    """

    difference: float
    margin: float
    p: float
    provable: float


def equivalence(a: Sequence[float], b: Sequence[float], margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided Welch tests of `a` [n] against `b` [m] at the margin (units of the values).

    Raises:
        ValueError: a margin that is not positive, an arm of fewer than 2 runs, no spread at all, or alpha outside
            (0, 1/2).
    """
    _check_margin(margin, alpha)
    return _tost(welch(summarise(a), summarise(b), 1 - 2 * alpha), margin)


def equivalence_paired(a: Sequence[float], b: Sequence[float], margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided paired t tests of `a - b`, both [n], entry i of both from seed i.

    For a contrast of more arms, `a` and `b` are the two sides of it.

    Raises:
        ValueError: a margin that is not positive, unequal lengths, fewer than 2 pairs, differences that are all equal,
            or alpha outside (0, 1/2).
    """
    _check_margin(margin, alpha)
    return _tost(paired(a, b, 1 - 2 * alpha), margin)


def smallest_margin(sd: float, n: int, alpha: float = 0.05) -> float:
    """The smallest provable margin: `n` runs an arm, common estimated SD `sd`, and observed means exactly equal.

    The best case: any observed difference makes the provable margin larger by itself.
    """
    _check(sd, n, alpha)
    return float(stats.t.isf(alpha, 2 * n - 2)) * sd * math.sqrt(2 / n)


def margin_with_power(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The margin proved with probability `power` if the arms are truly equal and the true common SD is `sd`.

    Given the estimated SD, both one-sided tests reject when |difference| < margin - critical; averaged over the
    chi-squared distribution of the estimate at equally likely quantiles.
    """
    _check(sd, n, alpha)
    if not 0 < power < 1:
        raise ValueError(f"the power must lie between 0 and 1, got {power}")
    error, df = sd * math.sqrt(2 / n), 2 * n - 2
    critical = stats.t.isf(alpha, df) * error * np.sqrt(variance_ratios(df))

    def proved(margin: float) -> float:
        room = np.maximum(margin - critical, 0.0) / error
        return float(np.mean(2 * stats.norm.cdf(room) - 1))

    return float(brentq(lambda margin: proved(margin) - power, 0.0, float(critical.max()) + 10 * error))


def _tost(test: TTest, margin: float) -> Equivalence:
    """Both one-sided tests; the larger p is that of the end of the margin that the difference is nearer to."""
    p = float(stats.t.sf((margin - abs(test.difference)) / test.standard_error, test.df))
    return Equivalence(test.difference, margin, p, max(-test.interval.low, test.interval.high))


def _check_margin(margin: float, alpha: float) -> None:
    if not 0 < margin < math.inf:
        raise ValueError(f"the margin must be positive and finite, got {margin}; fix it before looking at the data")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha of two one-sided tests must lie between 0 and 1/2, got {alpha}")


def _check(sd: float, n: int, alpha: float) -> None:
    if sd <= 0 or n < 2 or not 0 < alpha < 1:
        raise ValueError(f"an equivalence margin needs sd > 0, n >= 2, 0 < alpha < 1, got {sd}, {n}, {alpha}")
