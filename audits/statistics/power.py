"""Power of t tests at very small n, the effect or margin they can show and the seeds they need, without simulation.

A t test rejects when |difference| exceeds a critical value that itself depends on the estimated SDs. Given those, the
rejection probability is a normal tail; it is averaged over the chi-squared distribution of the SDs, at equally likely
quantiles. For the paired test that is the non-central t up to the grid (about 1e-3); Welch's test has no such formula.
Noise is taken as normal.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import stdtrit

GRID = 4096  # quantiles of one estimated variance
SIDE = 128  # quantiles of each of two estimated variances: SIDE * SIDE points


@dataclass(frozen=True)
class Rule:
    """A test as "reject when |difference| > critical"."""

    standard_error: float  # the true SD of the difference
    critical: NDArray[np.float64]  # [G], equally likely critical values, in any order and in the same units


def paired_rule(sd: float, n: int, alpha: float = 0.05) -> Rule:
    """The two-sided paired t test on `n` pairs whose differences have true SD `sd`."""
    _check(n, alpha, sd)
    error = sd / np.sqrt(n)
    return Rule(float(error), stats.t.isf(alpha / 2, n - 1) * error * np.sqrt(_variance_ratios(n - 1)))


def welch_rule(sd_a: float, sd_b: float, n: int, alpha: float = 0.05) -> Rule:
    """Welch's two-sided test with `n` runs an arm and true SDs `sd_a` and `sd_b`, of which one may be 0."""
    _check(n, alpha, max(sd_a, sd_b) if min(sd_a, sd_b) >= 0 else min(sd_a, sd_b))
    true_a, true_b = sd_a**2 / n, sd_b**2 / n
    ratios = _variance_ratios(n - 1, SIDE)
    var_a, var_b = np.meshgrid(true_a * ratios, true_b * ratios)
    total = var_a + var_b
    df = 1 / ((var_a / total) ** 2 / (n - 1) + (var_b / total) ** 2 / (n - 1))
    critical = stdtrit(df, 1 - alpha / 2) * np.sqrt(total)
    return Rule(float(np.sqrt(true_a + true_b)), critical.ravel())


def power_of(rule: Rule, effect: float) -> float:
    """The probability that the test rejects when the true difference is `effect`; at 0 it is the test's size."""
    above = stats.norm.sf((rule.critical - effect) / rule.standard_error)
    below = stats.norm.cdf((-rule.critical - effect) / rule.standard_error)
    return float(np.mean(above + below))


def minimum_detectable_effect(rule: Rule, power: float = 0.8) -> float:
    """The smallest true difference (units of the SDs) that the test finds with a power above its size."""
    upper = float(rule.critical.max()) + 10 * rule.standard_error
    return float(brentq(lambda effect: power_of(rule, effect) - power, 0.0, upper))


def seeds_needed(rule_at: Callable[[int], Rule], effect: float, power: float = 0.8, limit: int = 10_000) -> int | None:
    """The fewest runs n >= 2 (an arm, or pairs) at which `rule_at(n)` finds `effect`; None beyond `limit`.

    Power grows with n, so bisection finds them. Raises ValueError for an effect of zero.
    """
    if effect == 0:
        raise ValueError("an effect of zero cannot be detected; give the smallest effect that matters")
    n = bisect_left(range(limit + 1), True, lo=2, key=lambda n: power_of(rule_at(n), effect) >= power)
    return n if n <= limit else None


def smallest_margin(sd: float, n: int, alpha: float = 0.05) -> float:
    """The smallest margin of equivalence that `n` runs an arm of common estimated SD `sd` can prove.

    The best case, with observed means exactly equal: any observed difference makes the provable margin larger.
    """
    _check(n, alpha, sd)
    return float(stats.t.isf(alpha, 2 * n - 2)) * sd * math.sqrt(2 / n)


def margin_with_power(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The margin proved with probability `power` if the arms are truly equal and the true common SD is `sd`.

    Given the estimated SD, both one-sided tests reject when |difference| < margin - critical.
    """
    _check(n, alpha, sd)
    error, df = sd * math.sqrt(2 / n), 2 * n - 2
    critical = stats.t.isf(alpha, df) * error * np.sqrt(_variance_ratios(df))

    def proved(margin: float) -> float:
        room = np.maximum(margin - critical, 0.0) / error
        return float(np.mean(2 * stats.norm.cdf(room) - 1))

    return float(brentq(lambda margin: proved(margin) - power, 0.0, float(critical.max()) + 10 * error))


@lru_cache(maxsize=256)  # searches for the seeds needed ask for the same degrees of freedom again
def _variance_ratios(df: int, points: int = GRID) -> NDArray[np.float64]:
    """Estimated over true variance, [points] equally likely values for `df` degrees of freedom."""
    quantiles = (np.arange(points) + 0.5) / points
    return np.asarray(stats.chi2.ppf(quantiles, df) / df, dtype=np.float64)


def _check(n: int, alpha: float, sd: float) -> None:
    if n < 2 or not 0 < alpha < 1 or not 0 < sd < np.inf:
        raise ValueError(f"a t test needs n >= 2, 0 < alpha < 1 and a positive SD, got n={n}, alpha={alpha}, sd={sd}")
