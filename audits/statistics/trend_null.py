"""How the sum of the doses of the successful runs is distributed: what the exact trend test and its power rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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


def tails_of(null: Null, direction: Direction) -> NDArray[np.float64]:
    """The p value of every sum, [sums]: the probability of sums as far out or farther."""
    if direction is Direction.FALLING:
        p = np.cumsum(null.shares)
    elif direction is Direction.RISING:
        p = np.cumsum(null.shares[::-1])[::-1]
    else:
        distance = np.round(
            np.abs(np.arange(null.shares.size) - null.mean), 6
        )  # equal distances tie in spite of rounding
        order = np.argsort(-distance, kind="stable")
        summed = np.cumsum(null.shares[order])
        last = np.searchsorted(-distance[order], -distance, side="right") - 1
        p = summed[last]
    return np.asarray(np.minimum(p, 1.0), dtype=np.float64)


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
    if runs > LIMIT:
        raise ValueError(
            f"{runs} runs exceed {LIMIT}; with so many the normal approximation (cochran_armitage) is sound"
        )


def on_grid(doses: Sequence[float]) -> tuple[int, ...]:
    """The doses as whole steps from the lowest: exact where at most `STEPS` equal steps fit them, else rounded.

    The test is exact for the rounded doses, so rounding costs a little power at most, never its level.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a trend needs at least 2 different finite doses")
    share = (x - x.min()) / (x.max() - x.min())
    exact = (n for n in range(1, STEPS) if np.allclose(share * n, np.round(share * n), rtol=0, atol=1e-9))
    return tuple(np.round(share * next(exact, STEPS)).astype(int).tolist())
