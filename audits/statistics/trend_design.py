"""What a sweep can find: the exact power of the trend over runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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


@lru_cache(maxsize=8)
def _rejected(grid: tuple[int, ...], trials: int, direction: Direction, alpha: float) -> NDArray[np.bool_]:
    """Whether the test rejects at alpha, for each number of successes and sum of doses, [successes, sums]."""
    cells = [trials] * len(grid)
    joint = joint_distribution(grid, cells, [0.5] * len(grid))
    nulls = (Null(row / row.sum(), mean_sum(grid, cells, hits)) for hits, row in enumerate(joint))
    return np.stack([tails_of(null, direction).p <= alpha + 1e-12 for null in nulls])
