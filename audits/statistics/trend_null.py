"""The null distribution of the sum of the doses of the successful runs, for the exact trend tests and their power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LIMIT = 200  # runs at most: their distribution fits into 0.2 GB, and for more Cochran-Armitage is accurate
STEPS = 400  # doses are placed on a grid of at most so many steps


class Direction(StrEnum):
    """The alternative, fixed before looking at the data."""

    FALLING = "falling"
    RISING = "rising"
    EITHER = "either"


@dataclass(frozen=True)
class Null:
    """The probability of each sum [sums] given the number of successes, and the mean of the sum."""

    probabilities: NDArray[np.float64]
    mean: float


@dataclass(frozen=True)
class Tails:
    """The p value of every sum, [sums], and the smallest p of a sum that can occur."""

    p: NDArray[np.float64]
    smallest: float


@lru_cache(maxsize=64)
def tails_over_runs(grid: tuple[int, ...], trials: tuple[int, ...], hits: int, direction: Direction) -> Tails:
    """The p values given `hits` successes, all runs being exchangeable."""
    check_runs(sum(trials))
    joint = joint_distribution(grid, trials, [0.5] * len(grid))[hits]  # conditionally the same at any rate
    return tails_of(Null(joint / joint.sum(), mean_sum(grid, trials, hits)), direction)


@lru_cache(maxsize=64)
def tails_within_seeds(grid: tuple[int, ...], hits: tuple[int, ...], direction: Direction) -> Tails:
    """The p values given `hits` [seeds] successes, the runs of each seed being exchangeable."""
    check_runs(len(hits) * len(grid))
    ones = [1] * len(grid)
    joint = joint_distribution(grid, ones, [0.5] * len(grid))
    total = np.ones(1)
    for count in hits:
        total = np.convolve(total, joint[count] / joint[count].sum())
    return tails_of(Null(total, sum(mean_sum(grid, ones, count) for count in hits)), direction)


def tails_of(null: Null, direction: Direction) -> Tails:
    """The p value of every sum: the probability of sums that are at least as extreme."""
    if direction is Direction.FALLING:
        p = np.cumsum(null.probabilities)
    elif direction is Direction.RISING:
        p = np.cumsum(null.probabilities[::-1])[::-1]
    else:
        away = np.round(np.abs(np.arange(null.probabilities.size) - null.mean), 6)  # so that equal distances tie
        order = np.argsort(-away, kind="stable")
        last = np.searchsorted(-away[order], -away, side="right") - 1
        p = np.cumsum(null.probabilities[order])[last]
    p = np.minimum(p, 1.0)
    return Tails(p, float(p[null.probabilities > 0].min()))


def joint_distribution(grid: Sequence[int], trials: Sequence[int], rates: Sequence[float]) -> NDArray[np.float64]:
    """The probabilities of the number of successes and the sum of their doses, [successes, sums]; one rate a cell."""
    joint = np.ones((1, 1))
    for dose, runs, rate in zip(grid, trials, rates, strict=True):
        before, (counts, sums) = joint, joint.shape
        joint = np.zeros((counts + runs, sums + dose * runs))
        for hits, probability in enumerate(stats.binom.pmf(np.arange(runs + 1), runs, rate).tolist()):
            joint[hits : hits + counts, dose * hits : dose * hits + sums] += probability * before
    return joint


def mean_sum(grid: Sequence[int], trials: Sequence[int], hits: int) -> float:
    """The expected sum of `hits` successes among exchangeable runs."""
    return hits * float(np.dot(grid, trials)) / sum(trials)


def check_runs(runs: int) -> None:
    """Refuse a design whose distribution would not fit into memory.

    Raises:
        ValueError: more than `LIMIT` runs.
    """
    if runs > LIMIT:
        raise ValueError(
            f"{runs} runs exceed {LIMIT}; with so many the normal approximation (cochran_armitage) is accurate"
        )


def on_grid(doses: Sequence[float]) -> tuple[int, ...]:
    """The doses in whole steps from the lowest: exact where a grid of at most `STEPS` equal steps fits, else rounded.

    The test is exact for the rounded doses: rounding can cost a little power, but never the level.

    Raises:
        ValueError: fewer than 2 different doses, or one that is not finite.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a trend needs at least 2 different finite doses")
    return _steps(tuple(((x - x.min()) / (x.max() - x.min())).tolist()))


@lru_cache(maxsize=64)
def _steps(positions: tuple[float, ...]) -> tuple[int, ...]:
    """Positions in the range, 0 to 1, as whole numbers of steps."""
    x = np.asarray(positions)
    exact = (n for n in range(1, STEPS) if np.allclose(x * n, np.round(x * n), rtol=0, atol=1e-9))
    return tuple(np.round(x * next(exact, STEPS)).astype(int).tolist())
