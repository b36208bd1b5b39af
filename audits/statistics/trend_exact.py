"""Does the success rate change with a dose? The exact permutation test of the trend.

The statistic is the sum of the doses of the successful runs. Its permutation distribution, given the number of
successes, is computed and not sampled. So there is no simulation error, and the test keeps its level at any rate and
any number of runs, where the normal approximation of Cochran and Armitage does not.

Which runs are exchangeable under the null hypothesis:
- All of them (`trend_over_runs`) if each run is independent of all others: seeds are nested in the dose, and seed 3 at
  one dose shares with seed 3 at another only its number.
- Those of one seed (`trend_within_seeds`) if a seed means the same data order or the same starting weights at every
  dose, so that runs of one seed succeed or fail together. Valid in both cases, but less powerful in the first.

The null hypothesis is one rate at all doses (of a seed). Rates that go up and down without a trend violate it too:
`trend_over_cells` tests the trend alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audits.statistics.counts import Counts
from audits.statistics.trend_null import Direction, Tails, on_grid, tails_over_runs, tails_within_seeds


@dataclass(frozen=True)
class TrendTest:
    """The exact p of the trend; no arrangement of as many successes over these runs has a p below `smallest_p`.

    `slope` is the least-squares change of the success rate for one unit of the dose.
    """

    slope: float
    p: float
    smallest_p: float
    successes: int
    runs: int


def trend_over_runs(
    doses: Sequence[float], counts: Sequence[Counts], direction: Direction = Direction.EITHER
) -> TrendTest:
    """The trend over `doses` [cells] with `counts` [cells]; all runs are exchangeable.

    Raises:
        ValueError: fewer than 2 different doses, one that is not finite, not one count for each, or too many runs.
    """
    if len(doses) != len(counts):
        raise ValueError(f"a trend needs one count for each dose, got {len(counts)} for {len(doses)}")
    grid, trials = on_grid(doses), tuple(count.trials for count in counts)
    hits = [count.successes for count in counts]
    return _test(doses, hits, trials, tails_over_runs(grid, trials, sum(hits), direction))


def trend_within_seeds(
    doses: Sequence[float], outcomes: Sequence[Sequence[bool]], direction: Direction = Direction.EITHER
) -> TrendTest:
    """The trend over `doses` [cells] with `outcomes` [seeds, cells]; runs are exchangeable within a seed.

    Raises:
        ValueError: fewer than 2 different doses, one that is not finite, no seed, a seed without all doses, an outcome
            that is neither true nor false, or too many runs.
    """
    if not outcomes or any(len(row) != len(doses) for row in outcomes):
        raise ValueError("a trend within seeds needs at least 1 seed, and each seed at every dose")
    if any(outcome not in (0, 1) for row in outcomes for outcome in row):
        raise ValueError("an outcome is true (converged) or false; leave out a seed with a missing run")
    tails = tails_within_seeds(on_grid(doses), tuple(sorted(sum(map(bool, row)) for row in outcomes)), direction)
    hits = [sum(bool(row[cell]) for row in outcomes) for cell in range(len(doses))]
    return _test(doses, hits, [len(outcomes)] * len(doses), tails)


def _test(doses: Sequence[float], hits: Sequence[int], trials: Sequence[int], tails: Tails) -> TrendTest:
    p = float(tails.p[int(np.dot(on_grid(doses), hits))])
    return TrendTest(_slope(doses, hits, trials), p, tails.smallest, sum(hits), sum(trials))


def _slope(doses: Sequence[float], hits: Sequence[int], trials: Sequence[int]) -> float:
    x, weights = np.asarray(doses, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    centred = x - np.average(x, weights=weights)
    return float(centred @ np.asarray(hits) / (weights @ centred**2))
