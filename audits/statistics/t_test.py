"""Student's t of pairs, the same seed in both arms, and Welch's of two arms, from samples or what a paper printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy import stats

from audits.statistics.levels import ALPHA
from audits.statistics.summary import Interval, Summary, summarise

ROUNDING = 1e-13  # relative to the largest value: differences that vary less do so because of float64 rounding


@dataclass(frozen=True)
class TTest:
    """A difference of means with its standard error: the two-sided t test of none, and the interval of 1 - `ALPHA`."""

    difference: float
    standard_error: float
    df: float  # n - 1 of n pairs; else Satterthwaite's

    @cached_property
    def interval(self) -> Interval:
        """Two-sided."""
        half = self._quantile(ALPHA / 2) * self.standard_error
        return Interval(self.difference - half, self.difference + half)

    @cached_property
    def p(self) -> float:
        """Of the two-sided test of no difference."""
        return 2 * float(stats.t.sf(abs(self.difference) / self.standard_error, self.df))

    @property
    def significant(self) -> bool:
        """Whether the test rejects."""
        return self.p <= ALPHA

    def within(self, margin: float) -> float:
        """The larger p of two one-sided tests that the difference lies within the margin."""
        return float(stats.t.sf((margin - abs(self.difference)) / self.standard_error, self.df))

    def _quantile(self, tail: float) -> float:
        return float(stats.t.isf(tail, self.df))


def paired(a: Sequence[float], b: Sequence[float]) -> TTest:
    """The paired t test of `a - b`; `a` and `b` are [n], entry i of both from seed i.

    Raises ValueError for unequal lengths, fewer than 2 pairs, or no spread.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many runs in both arms, got {len(a)} and {len(b)}")
    differences = summarise([x - y for x, y in zip(a, b, strict=True)])
    if differences.sd <= ROUNDING * max(map(abs, (*a, *b))):
        raise ValueError("all paired differences are equal: the seeds did not take effect")
    return TTest(differences.mean, differences.sd / math.sqrt(differences.n), differences.n - 1)


def equivalence_p(a: Sequence[float], b: Sequence[float], margin: float) -> float:
    """`TTest.within` of the paired test of `a - b`: small means equivalent.

    Raises ValueError for a margin that is not positive and finite; otherwise as `paired`.
    """
    if not 0 < margin < math.inf:
        raise ValueError(f"the margin must be positive and finite, got {margin}; fix it before looking at the data")
    return paired(a, b).within(margin)


def welch(a: Summary, b: Summary) -> TTest:
    """Welch's test of `a - b` from summaries: unpaired, unequal variances.

    Raises ValueError for an arm with one run, or no spread in either arm.
    """
    if min(a.n, b.n) < 2:
        raise ValueError("Welch's test needs at least 2 runs an arm; for single runs use tipping_point")
    var_a, var_b = a.sd**2 / a.n, b.sd**2 / b.n
    error = math.sqrt(var_a + var_b)
    if error == 0:
        raise ValueError("neither arm has any spread: the seeds did not take effect, or values were rounded")
    share_a, share_b = var_a / (var_a + var_b), var_b / (var_a + var_b)  # scaled so that tiny SDs do not underflow
    return TTest(a.mean - b.mean, error, 1 / (share_a**2 / (a.n - 1) + share_b**2 / (b.n - 1)))
