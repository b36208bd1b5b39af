"""A trend over cells whose rates may differ anyway: the cells, not their runs, are exchangeable.

The null hypothesis of `trend_over_runs` is one rate at every dose, which rates that go up and down without a trend
violate too. Here it is weaker: whatever the cells' rates, their order is unrelated to the dose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from audits.statistics.counts import Counts
from audits.statistics.permutation import DRAWS, LIMIT, Permutation
from audits.statistics.trend_null import Direction, on_grid


def trend_over_cells(
    doses: Sequence[float], counts: Sequence[Counts], direction: Direction = Direction.EITHER, seed: int = 0
) -> Permutation:
    """The trend of the rates over `doses` [cells]; exact up to 8 cells, beyond that from seeded draws.

    Raises:
        ValueError: fewer than 2 different doses, one that is not finite, or not one count for each.
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
