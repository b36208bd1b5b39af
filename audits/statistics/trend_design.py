"""What a sweep can find: the exact power of the trend over runs, the runs it needs, the smallest trend it detects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from audits.statistics.trend_null import Direction, Null, check_runs, joint_distribution, mean_sum, on_grid, tails_of


def exact_trend_power(
    doses: Sequence[float],
    rates: Sequence[float],
    trials: int,
    direction: Direction = Direction.EITHER,
    alpha: float = 0.05,
) -> float:
    """The probability that `trend_over_runs` rejects if cell i truly succeeds at `rates[i]`, `trials` runs a cell.

    With equal rates it is the test's size.

    Raises:
        ValueError: as `trend_over_runs`, a rate outside [0, 1], no run, or alpha outside (0, 1).
    """
    if len(doses) != len(rates) or not all(0 <= rate <= 1 for rate in rates):
        raise ValueError("each dose needs one true rate between 0 and 1")
    if trials < 1 or not 0 < alpha < 1:
        raise ValueError(f"need at least 1 run a cell and 0 < alpha < 1, got {trials} and {alpha}")
    grid = on_grid(doses)
    check_runs(trials * len(grid))
    rejected = _rejected(grid, trials, direction, alpha)
    return float(joint_distribution(grid, [trials] * len(grid), rates)[rejected].sum())


def trend_runs_needed(
    doses: Sequence[float],
    rates: Sequence[float],
    direction: Direction = Direction.EITHER,
    alpha: float = 0.05,
    power: float = 0.8,
    limit: int = 40,
) -> int | None:
    """The fewest runs a cell at which the trend of `rates` is detected with the power; None beyond `limit`."""
    found = (n for n in range(2, limit + 1) if exact_trend_power(doses, rates, n, direction, alpha) >= power)
    return next(found, None)


def detectable_trend(
    doses: Sequence[float],
    rates_at: Callable[[float], Sequence[float]],
    trials: int,
    direction: Direction = Direction.EITHER,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """The smallest size in [0, 1] at which the trend is detected with the power; None if size 1 is not.

    `rates_at(size)` are the cells' true rates, `rates_at(0)` all equal; power must grow with the size.
    """

    def missing(size: float) -> float:
        return exact_trend_power(doses, rates_at(size), trials, direction, alpha) - power

    return None if missing(1.0) < 0 else float(brentq(missing, 0.0, 1.0, xtol=1e-3))


@lru_cache(maxsize=8)
def _rejected(grid: tuple[int, ...], trials: int, direction: Direction, alpha: float) -> NDArray[np.bool_]:
    """Whether the test rejects at alpha, for each number of successes and sum of doses, [successes, sums]."""
    cells = [trials] * len(grid)
    joint = joint_distribution(grid, cells, [0.5] * len(grid))
    nulls = (Null(row / row.sum(), mean_sum(grid, cells, hits)) for hits, row in enumerate(joint))
    return np.stack([tails_of(null, direction).p <= alpha + 1e-12 for null in nulls])
