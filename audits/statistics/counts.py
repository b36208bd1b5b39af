"""Two arms of yes-or-no runs (converged or not): exact tests, what they can detect, and the interval of a rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from audits.statistics.summary import Interval

NEGLIGIBLE = 1e-9  # an exact power leaves out tables less likely than this: it is off by at most 1e-9 for each


@dataclass(frozen=True)
class Counts:
    """The number of successes among independent runs."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if self.trials < 1 or not 0 <= self.successes <= self.trials:
            raise ValueError(f"need 0 <= successes <= trials and trials >= 1, got {self.successes}/{self.trials}")

    def __str__(self) -> str:
        return f"{self.successes}/{self.trials}"


ExactTest = Callable[[Counts, Counts], float]  # two cells -> two-sided p


@lru_cache(maxsize=4096)
def fisher(a: Counts, b: Counts) -> float:
    """Fisher's exact two-sided p (all tables at most as likely as the observed one, margins fixed)."""
    return float(stats.fisher_exact(_table(a, b)).pvalue)


@lru_cache(maxsize=4096)
def boschloo(a: Counts, b: Counts) -> float:
    """Boschloo's two-sided p: Fisher's p as the statistic, maximised over the common rate; at equal n the smaller one.

    Here it is twice the smaller one-sided p, and Fisher's sums both tails: at unequal n it may be the larger one.
    """
    return min(1.0, float(stats.boschloo_exact(_table(a, b)).pvalue))


def exact_power(test: ExactTest, rate_a: float, rate_b: float, n: int, alpha: float = 0.05) -> float:
    """The probability that `test` rejects at `alpha` with `n` runs an arm and the given true success rates."""
    if not (0 <= rate_a <= 1 and 0 <= rate_b <= 1) or n < 1:
        raise ValueError(f"need rates in [0, 1] and n >= 1, got {rate_a}, {rate_b}, n={n}")
    outcomes = np.arange(n + 1)
    likelihood = np.outer(stats.binom.pmf(outcomes, n, rate_a), stats.binom.pmf(outcomes, n, rate_b))
    pairs = np.argwhere(likelihood > NEGLIGIBLE).tolist()
    rejected = (likelihood[i, j] for i, j in pairs if test(Counts(i, n), Counts(j, n)) <= alpha)
    return float(sum(rejected))


def detectable_rate(test: ExactTest, rate: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The highest rate below `rate` that `test` distinguishes from it with the power; None if it detects not even 0."""
    if exact_power(test, rate, 0.0, n, alpha) < power:
        return None
    found = brentq(lambda other: exact_power(test, rate, other, n, alpha) - power, 0.0, rate, xtol=1e-4)
    return float(found)


def runs_needed(
    test: ExactTest, rate_a: float, rate_b: float, alpha: float = 0.05, power: float = 0.8, limit: int = 60
) -> int | None:
    """The fewest runs an arm that reach the power; None if more than `limit` are needed.

    Every number is tried: exact tests are discrete, so one more run can lose a little power.
    """
    return next((n for n in range(2, limit + 1) if exact_power(test, rate_a, rate_b, n, alpha) >= power), None)


def rate_interval(counts: Counts, level: float = 0.95) -> Interval:
    """The Clopper-Pearson interval of the success rate: it covers at least `level` of the time at any rate.

    From beta quantiles; scipy's `proportion_ci` searches for the same bounds with an absolute tolerance, coarse near 0.
    """
    hits, misses, tail = counts.successes, counts.trials - counts.successes, (1 - level) / 2
    low = float(stats.beta.ppf(tail, hits, misses + 1)) if hits else 0.0
    return Interval(low, float(stats.beta.isf(tail, hits + 1, misses)) if misses else 1.0)


def least_rate(counts: Counts, confidence: float = 0.95) -> float:
    """The one-sided lower confidence bound of the success rate (Clopper-Pearson)."""
    return rate_interval(counts, 2 * confidence - 1).low


def largest_rate(counts: Counts, confidence: float = 0.95) -> float:
    """The one-sided upper confidence bound of the success rate: about 3 / trials without a success."""
    return rate_interval(counts, 2 * confidence - 1).high


def _table(a: Counts, b: Counts) -> list[list[int]]:
    return [[a.successes, b.successes], [a.trials - a.successes, b.trials - b.successes]]
