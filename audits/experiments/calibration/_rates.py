"""Calibration of the tests of rates: Fisher, Boschloo, the exact trend over and within seeds, a rate's lower bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from audits.experiments.calibration._case import Case, Trial
from audits.experiments.calibration._noise import Flags, Floats
from audits.statistics.counts import Counts, ExactTest, boschloo, fisher, least_rate
from audits.statistics.levels import ALPHA
from audits.statistics.trend import Direction, on_grid, tails_over_runs, tails_within_seeds, trend_over_cells

Whole = NDArray[np.int64]
CELLS = 5  # seeds a cell of the hub-count sweep
HUBS = (8, 10, 12, 14, 20, 24, 28, 32)
LOG_HUBS = tuple(math.log2(m) for m in HUBS)
STEADY = (0.8,) * len(HUBS)
FALLING = (0.9, 0.9, 0.9, 0.9, 0.7, 0.567, 0.433, 0.3)  # in a straight line from 0.9 at M = 14 to 0.3 at M = 32
FALL = "rate falls from 0.9 at M = 14 to 0.3 at M = 32"
BUMPY = (1.0, 1.0, 1.0, 0.9, 0.9, 0.7, 0.4, 0.3)
LUCK = 3.0  # SD on the logit scale of what a seed's runs share where they do
PROBE_DRAWS = 60
_tails_within_seeds = lru_cache(maxsize=None)(tails_within_seeds)  # 1287 ways to share out five seeds' successes


def cases() -> Iterator[Case]:
    """Every test of rates in its settings."""
    tests: tuple[tuple[str, ExactTest], ...] = (("Fisher", fisher), ("Boschloo", boschloo))
    for (name, test), n, rate in product(tests, (5, 10), (0.5, 0.8)):
        null, found = _two_cells(test, n, rate, rate), _two_cells(test, n, 1.0, 0.3)
        yield Case(name, n, f"rate {rate} in both cells", null, "rates 1.0 and 0.3", found)
    yield from _trends()
    bound = f"rate 0.95 in {PROBE_DRAWS} draws: bound above the truth"
    yield Case("Clopper-Pearson bound", PROBE_DRAWS, bound, _bound(0.95, 0.95), "0.95 at rate 1", _bound(1.0, 0.95))


def trend_p_over_runs(doses: Sequence[float], hits: Whole, direction: Direction) -> Floats:
    """The p of `trend_over_runs` for each sweep, hits [draws, cells] -> [draws]."""
    grid, trials = on_grid(doses), (CELLS,) * len(doses)
    totals, sums, p = hits.sum(axis=1), hits @ np.asarray(grid), np.empty(len(hits))
    for total in np.unique(totals).tolist():
        p[totals == total] = tails_over_runs(grid, trials, total, direction).p[sums[totals == total]]
    return p


def trend_p_within_seeds(doses: Sequence[float], outcomes: Flags) -> Floats:
    """The two-sided p of `trend_within_seeds` for each sweep, outcomes [draws, seeds, cells] -> [draws]."""
    grid = on_grid(doses)
    totals, sums = np.sort(outcomes.sum(axis=2), axis=1), outcomes.sum(axis=1) @ np.asarray(grid)
    alike, which = np.unique(totals, axis=0, return_inverse=True)
    p = np.empty(len(outcomes))
    for index, hits in enumerate(alike.tolist()):
        p[which == index] = _tails_within_seeds(grid, tuple(hits), Direction.EITHER).p[sums[which == index]]
    return p


def _trends() -> Iterator[Case]:
    over, within = "trend over runs", "trend within seeds"
    for rate, direction in product((0.5, 0.8, 0.9), (Direction.EITHER, Direction.FALLING)):
        setting = f"rate {rate} at all 8 hub counts, alternative {direction}"
        yield Case(over, CELLS, setting, _over((rate,) * 8, direction), FALL, _over(FALLING, direction))
    alone = "rate 0.8 at all 8 hub counts, runs independent"
    yield Case(within, CELLS, alone, _within(STEADY, 0.0), FALL, _within(FALLING, 0.0))
    shared = "rate about 0.8 at all 8 hub counts, seeds fail together"
    yield Case(within, CELLS, shared, _within(STEADY, LUCK), FALL, _within(FALLING, LUCK))
    yield Case(over, CELLS, shared, _over_shared(STEADY), FALL, _over_shared(FALLING))
    bumpy = "rates between 0.3 and 1 at 6 hub counts, in any order"
    yield Case("trend over cells", CELLS, bumpy, _cells(), f"{FALL}, 6 hub counts", _cells(FALLING[2:]))
    why = "rates that differ without a trend violate its null hypothesis too; the trend over cells is shown beside it"
    yield Case(over, CELLS, "rates between 0.3 and 1 at 8 hub counts, in any order", _over_bumpy(), trap=why)


def _two_cells(test: ExactTest, n: int, rate_a: float, rate_b: float) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        pairs = np.sort(rng.binomial(n, (rate_a, rate_b), (draws, 2)), axis=1)  # both tests treat the cells alike
        alike, which = np.unique(pairs, axis=0, return_inverse=True)
        return np.array([test(Counts(low, n), Counts(high, n)) <= ALPHA for low, high in alike.tolist()])[which]

    return trial


def _over(rates: Sequence[float], direction: Direction) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        hits = rng.binomial(CELLS, rates, (draws, len(rates)))
        return trend_p_over_runs(LOG_HUBS, hits, direction) <= ALPHA

    return trial


def _over_shared(rates: Sequence[float]) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        return trend_p_over_runs(HUBS, _outcomes(rng, draws, rates, LUCK).sum(axis=1), Direction.EITHER) <= ALPHA

    return trial


def _over_bumpy() -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        rates = rng.permuted(np.tile(BUMPY, (draws, 1)), axis=1)
        return trend_p_over_runs(HUBS, rng.binomial(CELLS, rates), Direction.EITHER) <= ALPHA

    return trial


def _cells(rates: Sequence[float] | None = None) -> Trial:
    def trial(rng: np.random.Generator, draws: int) -> Flags:
        shuffled = rng.permuted(np.tile(BUMPY[2:], (draws, 1)), axis=1)
        hits = rng.binomial(CELLS, shuffled if rates is None else np.asarray(rates), (draws, len(BUMPY) - 2))
        alike, which = np.unique(hits, axis=0, return_inverse=True)
        return np.array([_cells_p(row) <= ALPHA for row in alike.tolist()])[which]

    return trial


def _cells_p(hits: Sequence[int]) -> float:
    return trend_over_cells(HUBS[2:], [Counts(hit, CELLS) for hit in hits]).p


def _within(rates: Sequence[float], luck: float) -> Trial:
    return lambda rng, draws: trend_p_within_seeds(HUBS, _outcomes(rng, draws, rates, luck)) <= ALPHA


def _outcomes(rng: np.random.Generator, draws: int, rates: Sequence[float], luck: float) -> Flags:
    """Runs that converged, [draws, seeds, cells], all of a seed moved by its luck on the logit scale."""
    odds = np.asarray(rates)
    logits = np.log(odds / (1 - odds)) + luck * rng.standard_normal((draws, CELLS, 1))
    return np.asarray(rng.random((draws, CELLS, len(rates))) < 1 / (1 + np.exp(-logits)))


def _bound(rate: float, floor: float) -> Trial:
    """Whether the lower bound at 95 % confidence reaches `floor`: at a true rate of just that, too high a bound."""
    reached = np.array([least_rate(Counts(hits, PROBE_DRAWS)) >= floor for hits in range(PROBE_DRAWS + 1)])
    return lambda rng, draws: reached[rng.binomial(PROBE_DRAWS, rate, draws)]
