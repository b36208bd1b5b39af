"""Does a success rate rise or fall over ordered cells? Exact permutation tests of the trend, and Cochran-Armitage.

The statistic is the sum of the doses of the successful runs. Its permutation distribution, given the number of
successes, is computed: the test keeps its level at any rate and number of runs, where Cochran and Armitage's does not.

Under the null hypothesis all runs are exchangeable (`tails_over_runs`) where a seed at one dose shares with that at
another only its number; those of one seed (`tails_within_seeds`) where runs of a seed succeed or fail together. Rates
that go up and down without a trend violate it too: in `trend_over_cells` the cells, not their runs, are exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from audits.statistics.counts import Counts
from audits.statistics.permutation import DRAWS, LIMIT, Permutation

MOST_RUNS = 200  # runs at most: their distribution fits into 0.2 GB, and for more Cochran-Armitage is accurate
STEPS = 400  # doses are placed on a grid of at most so many steps


class Direction(StrEnum):
    """The alternative, fixed before looking at the data."""

    FALLING = "falling"
    RISING = "rising"
    EITHER = "either"


def trend_over_cells(
    doses: Sequence[float], counts: Sequence[Counts], direction: Direction = Direction.EITHER, seed: int = 0
) -> Permutation:
    """The trend of the rates over `doses` [cells]; exact up to 8 cells, beyond that from seeded draws.

    Raises ValueError as `on_grid`, and where there is not one count for each dose.
    """
    if len(doses) != len(counts):
        raise ValueError(f"a trend needs one count for each dose, got {len(counts)} for {len(doses)}")
    grid = np.asarray(on_grid(doses), dtype=np.float64)
    rates = np.array([count.successes / count.trials for count in counts])
    # scipy's permutation_test has no two-sided p by |statistic|, and near 0 it takes rounded ties for different values
    ways, sampled = math.factorial(rates.size), math.factorial(rates.size) > LIMIT
    orders = _drawn(rates.size, seed) if sampled else _listed(rates.size)
    sums = rates[orders] @ (grid - grid.mean())
    extremeness = {Direction.FALLING: -sums, Direction.RISING: sums, Direction.EITHER: np.abs(sums)}[direction]
    slack = 1e-9 * max(1.0, float(np.abs(sums).max()))  # sums closer than rounding tie
    p, smallest = (float(np.mean(extremeness >= one - slack)) for one in (extremeness[0], extremeness.max()))
    return Permutation(p, smallest, ways, sampled)


@lru_cache(maxsize=8)
def _listed(cells: int) -> NDArray[np.int64]:
    """All orders, [orders, cells], the observed one first."""
    return np.array(list(permutations(range(cells))), dtype=np.int64)


def _drawn(cells: int, seed: int) -> NDArray[np.int64]:
    """Drawn orders, [draws + 1, cells], the observed one first so that the p is valid."""
    orders = np.tile(np.arange(cells), (DRAWS + 1, 1))
    orders[1:] = np.random.default_rng(seed).permuted(orders[1:], axis=1)
    return orders


def exact_trend_power(
    doses: Sequence[float],
    rates: Sequence[float],
    trials: int,
    direction: Direction = Direction.EITHER,
    alpha: float = 0.05,
) -> float:
    """The probability that the trend over runs is found if cell i truly succeeds at `rates[i]`, `trials` runs a cell.

    With equal rates it is the test's size. Raises ValueError as `on_grid`, and for too many runs.
    """
    if len(doses) != len(rates) or not all(0 <= rate <= 1 for rate in rates):
        raise ValueError("each dose needs one true rate between 0 and 1")
    grid = on_grid(doses)
    check_runs(trials * len(grid))
    rejected = _rejected(grid, trials, direction, alpha)
    return float(joint_distribution(grid, [trials] * len(grid), rates)[rejected].sum())


@lru_cache(maxsize=8)
def _rejected(grid: tuple[int, ...], trials: int, direction: Direction, alpha: float) -> NDArray[np.bool_]:
    """Whether the test rejects at alpha, for each number of successes and sum of doses, [successes, sums]."""
    cells = [trials] * len(grid)
    joint = joint_distribution(grid, cells, [0.5] * len(grid))
    nulls = (Null(row / row.sum(), mean_sum(grid, cells, hits)) for hits, row in enumerate(joint))
    return np.stack([tails_of(null, direction).p <= alpha + 1e-12 for null in nulls])


@dataclass(frozen=True)
class Trend:
    """The standard normal statistic (negative: the rate falls with the dose) and its two-sided p."""

    z: float
    p: float


def cochran_armitage(doses: Sequence[float], successes: Sequence[int], trials: int) -> Trend:
    """The trend of the success rate over `doses` [cells], with `successes` [cells] of `trials` runs in each cell.

    The p is asymptotic: at 5 runs in each of 4 cells it can reject a true null in 8 % of cases at alpha 5 %; use
    `tails_over_runs` there. If every run succeeded or every run failed, z = 0.
    """
    hits = np.asarray(successes)
    if len(doses) != hits.size or len(set(doses)) < 2:
        raise ValueError("a trend needs at least 2 different doses and one count for each")
    if trials < 1 or (hits < 0).any() or (hits > trials).any():
        raise ValueError(f"counts must lie between 0 and the {trials} runs of a cell")
    centred, rate = np.asarray(doses, dtype=np.float64) - np.mean(doses), float(hits.mean()) / trials
    sd = math.sqrt(trials * rate * (1 - rate) * float(np.sum(centred**2)))
    z = float(hits @ centred) / sd if sd else 0.0
    return Trend(z, 2 * float(stats.norm.sf(abs(z))))


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
    """Refuse a design whose distribution would not fit into memory, with a ValueError."""
    if runs > MOST_RUNS:
        raise ValueError(
            f"{runs} runs exceed {MOST_RUNS}; with so many the normal approximation (cochran_armitage) is accurate"
        )


def on_grid(doses: Sequence[float]) -> tuple[int, ...]:
    """The doses in whole steps from the lowest: exact where a grid of at most `STEPS` equal steps fits, else rounded.

    The test is exact for the rounded doses: rounding can cost a little power, but never the level. Raises ValueError
    for fewer than 2 different doses, or one that is not finite.
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
