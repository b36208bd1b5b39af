"""How the sum of the doses of the successful runs is distributed: what the exact trend test and its power rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LIMIT = 200  # runs at most: the distribution then still fits into 0.2 GB, and beyond it Cochran-Armitage is sound
STEPS = 400  # doses are placed on a grid of at most so many steps


class Direction(StrEnum):
    """The alternative, fixed before looking at the data."""

    FALLING = "falling"
    RISING = "rising"
    EITHER = "either"


@dataclass(frozen=True)
class Null:
    """The probability of each sum [sums] given the successes, and the sum's mean."""

    shares: NDArray[np.float64]
    mean: float


@dataclass(frozen=True)
class Tails:
    """The p value of every sum, [sums], and the smallest of a sum that can occur."""

    p: NDArray[np.float64]
    smallest: float


@lru_cache(maxsize=64)
def tails_over_runs(grid: tuple[int, ...], trials: tuple[int, ...], hits: int, direction: Direction) -> Tails:
    """The p values given `hits` successes over all runs, any of which may trade outcomes."""
    check_runs(sum(trials))
    shares = spread(grid, trials, [0.5] * len(grid))[hits]
    return tails_of(Null(shares / shares.sum(), mean_sum(grid, trials, hits)), direction)


@lru_cache(maxsize=64)
def tails_within_seeds(grid: tuple[int, ...], hits: tuple[int, ...], direction: Direction) -> Tails:
    """The p values given `hits` [seeds] successes of each seed, whose runs trade outcomes among themselves."""
    check_runs(len(hits) * len(grid))
    ones = [1] * len(grid)
    of_one = spread(grid, ones, [0.5] * len(grid))
    shares = np.ones(1)
    for count in hits:
        shares = np.convolve(shares, of_one[count] / of_one[count].sum())
    return tails_of(Null(shares, sum(mean_sum(grid, ones, count) for count in hits)), direction)


def tails_of(null: Null, direction: Direction) -> Tails:
    """The p value of every sum: the probability of sums as far out or farther."""
    if direction is Direction.FALLING:
        p = np.cumsum(null.shares)
    elif direction is Direction.RISING:
        p = np.cumsum(null.shares[::-1])[::-1]
    else:
        away = np.round(np.abs(np.arange(null.shares.size) - null.mean), 6)  # so that equal distances tie
        order = np.argsort(-away, kind="stable")
        last = np.searchsorted(-away[order], -away, side="right") - 1
        p = np.cumsum(null.shares[order])[last]
    p = np.minimum(p, 1.0)
    return Tails(p, float(p[null.shares > 0].min()))


def spread(grid: Sequence[int], trials: Sequence[int], rates: Sequence[float]) -> NDArray[np.float64]:
    """The probability of so many successes with this sum of doses, [successes, sums], cell i succeeding at rates[i]."""
    shares = np.ones((1, 1))
    for dose, runs, rate in zip(grid, trials, rates, strict=True):
        before, (counts, sums) = shares, shares.shape
        shares = np.zeros((counts + runs, sums + dose * runs))
        for hits, share in enumerate(stats.binom.pmf(np.arange(runs + 1), runs, rate).tolist()):
            shares[hits : hits + counts, dose * hits : dose * hits + sums] += share * before
    return shares


def mean_sum(grid: Sequence[int], trials: Sequence[int], hits: int) -> float:
    """The mean sum of `hits` successes dealt out evenly."""
    return hits * float(np.dot(grid, trials)) / sum(trials)


def check_runs(runs: int) -> None:
    """Refuse a design whose distribution would not fit into memory.

    Raises:
        ValueError: more than `LIMIT` runs.
    """
    if runs > LIMIT:
        raise ValueError(
            f"{runs} runs exceed {LIMIT}; with so many the normal approximation (cochran_armitage) is sound"
        )


def on_grid(doses: Sequence[float]) -> tuple[int, ...]:
    """The doses as whole steps from the lowest: exact where at most `STEPS` equal steps fit them, else rounded.

    The test is exact for the rounded doses, so rounding costs a little power at most, never its level.

    Raises:
        ValueError: fewer than 2 different doses, or one that is not finite.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a trend needs at least 2 different finite doses")
    return _steps(tuple(((x - x.min()) / (x.max() - x.min())).tolist()))


@lru_cache(maxsize=64)
def _steps(shares: tuple[float, ...]) -> tuple[int, ...]:
    """Shares of the range as whole numbers of steps."""
    x = np.asarray(shares)
    exact = (n for n in range(1, STEPS) if np.allclose(x * n, np.round(x * n), rtol=0, atol=1e-9))
    return tuple(np.round(x * next(exact, STEPS)).astype(int).tolist())
