"""Student's t of pairs, the same seed in both arms, and Welch's of two arms, from samples or what a paper printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from audits.statistics.summary import Interval, Summary, summarise

ROUNDING = 1e-13  # relative to the largest value: differences that vary less do so because of float64 rounding


@dataclass(frozen=True)
class TTest:
    """Mean of the first arm minus mean of the second, its interval, and the two-sided test of no difference."""

    difference: float
    interval: Interval
    standard_error: float  # of the difference
    df: float  # n - 1 of n pairs; Welch-Satterthwaite's of two arms
    p: float


def paired(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> TTest:
    """The paired t test and interval of `a - b`; `a` and `b` are [n], entry i of both from seed i.

    Raises:
        ValueError: unequal lengths, fewer than 2 pairs, no spread, or a level outside (0, 1).
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many runs in both arms, got {len(a)} and {len(b)}")
    differences = summarise([x - y for x, y in zip(a, b, strict=True)])
    if differences.sd <= ROUNDING * max(map(abs, (*a, *b))):
        raise ValueError("all paired differences are equal: the seeds did not take effect")
    return _test(differences.mean, differences.sd / math.sqrt(differences.n), differences.n - 1, level)


def equivalence_p(a: Sequence[float], b: Sequence[float], margin: float) -> float:
    """The larger p of two one-sided paired t tests that `a - b` lies within the margin (TOST): small means equivalent.

    Raises:
        ValueError: a margin that is not positive and finite; otherwise as `paired`.
    """
    if not 0 < margin < math.inf:
        raise ValueError(f"the margin must be positive and finite, got {margin}; fix it before looking at the data")
    test = paired(a, b)
    return float(stats.t.sf((margin - abs(test.difference)) / test.standard_error, test.df))


def welch(a: Summary, b: Summary, level: float = 0.95) -> TTest:
    """Welch's two-sided t test and interval of `a - b` from summaries: unpaired, unequal variances.

    Raises:
        ValueError: an arm with one run, no spread in either arm, or a level outside (0, 1).
    """
    if min(a.n, b.n) < 2:
        raise ValueError("Welch's test needs at least 2 runs an arm; for single runs use tipping_point")
    var_a, var_b = a.sd**2 / a.n, b.sd**2 / b.n
    error = math.sqrt(var_a + var_b)
    if error == 0:
        raise ValueError("neither arm has any spread: the seeds did not take effect, or values were rounded")
    share_a, share_b = var_a / (var_a + var_b), var_b / (var_a + var_b)  # scaled so that tiny SDs do not underflow
    df = 1 / (share_a**2 / (a.n - 1) + share_b**2 / (b.n - 1))
    return _test(a.mean - b.mean, error, df, level)


def _test(difference: float, error: float, df: float, level: float) -> TTest:
    if not 0 < level < 1:
        raise ValueError(f"the level must lie between 0 and 1, got {level}")
    half, p = float(stats.t.isf((1 - level) / 2, df)) * error, 2 * float(stats.t.sf(abs(difference) / error, df))
    return TTest(difference, Interval(difference - half, difference + half), error, df, p)
