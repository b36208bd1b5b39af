"""Equivalence (TOST): "has little effect" needs a margin and a proof that the effect lies inside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.weightstats import ttost_ind

from audits.statistics.power import GRID
from audits.statistics.summary import summarise


@dataclass(frozen=True)
class Equivalence:
    """The larger of the two one-sided p values for |difference| >= margin: small means equivalent within the margin."""

    difference: float
    margin: float
    p: float


def equivalence(a: Sequence[float], b: Sequence[float], margin: float) -> Equivalence:
    """Two one-sided Welch tests of `a` [n] against `b` [m] at the margin (units of the values).

    Raises:
        ValueError: a margin that is not positive, an arm of fewer than 2 runs, or no spread at all.
    """
    if margin <= 0:
        raise ValueError(f"the margin must be positive, got {margin}; fix it before looking at the data")
    first, second = summarise(a), summarise(b)
    if first.sd == 0 and second.sd == 0:
        raise ValueError("neither arm has any spread: the seeds did not take effect")
    p, _, _ = ttost_ind(np.asarray(a), np.asarray(b), -margin, margin, usevar="unequal")
    return Equivalence(first.mean - second.mean, margin, float(p))


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
    df, error = 2 * n - 2, sd * math.sqrt(2 / n)
    quantiles = (np.arange(GRID) + 0.5) / GRID
    critical = stats.t.isf(alpha, df) * error * np.sqrt(stats.chi2.ppf(quantiles, df) / df)

    def proved(margin: float) -> float:
        room = np.maximum(margin - critical, 0.0) / error
        return float(np.mean(2 * stats.norm.cdf(room) - 1))

    return float(brentq(lambda margin: proved(margin) - power, 0.0, float(critical.max()) + 10 * error))


def _check(sd: float, n: int, alpha: float) -> None:
    if sd <= 0 or n < 2 or not 0 < alpha < 1:
        raise ValueError(f"an equivalence margin needs sd > 0, n >= 2, 0 < alpha < 1, got {sd}, {n}, {alpha}")
