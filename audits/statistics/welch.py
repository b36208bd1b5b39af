"""Welch's test: two arms, unpaired, unequal variances, from samples or from what a paper printed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from audits.statistics.summary import Interval, Printed, Reading, Summary


@dataclass(frozen=True)
class Welch:
    """Mean of the first arm minus mean of the second, its interval, and the two-sided test of no difference."""

    difference: float
    interval: Interval
    standard_error: float  # of the difference
    t: float
    df: float  # Welch-Satterthwaite
    p: float


def welch(a: Summary, b: Summary, level: float = 0.95) -> Welch:
    """Welch's two-sided t test and interval of `a - b` from summaries.

    Raises:
        ValueError: an arm with one run, no spread in either arm, or a level outside (0, 1).
    """
    if min(a.n, b.n) < 2:
        raise ValueError("Welch's test needs at least 2 runs an arm; for single runs use tipping_point")
    if not 0 < level < 1:
        raise ValueError(f"the level must lie between 0 and 1, got {level}")
    var_a, var_b = a.sd**2 / a.n, b.sd**2 / b.n
    error = math.sqrt(var_a + var_b)
    if error == 0:
        raise ValueError("neither arm has any spread: the seeds did not take effect, or values were rounded")
    share_a, share_b = var_a / (var_a + var_b), var_b / (var_a + var_b)  # scaled so that tiny SDs do not underflow
    df = 1 / (share_a**2 / (a.n - 1) + share_b**2 / (b.n - 1))
    difference = a.mean - b.mean
    p = float(stats.ttest_ind_from_stats(a.mean, a.sd, a.n, b.mean, b.sd, b.n, equal_var=False).pvalue)
    half = float(stats.t.isf((1 - level) / 2, df)) * error
    return Welch(difference, Interval(difference - half, difference + half), error, difference / error, df, p)


def welch_from_print(a: Printed, b: Printed, reading: Reading, level: float = 0.95) -> Welch:
    """Welch's test of two printed arms under one reading of "±"; errors as `welch`."""
    return welch(a.read_as(reading), b.read_as(reading), level)
