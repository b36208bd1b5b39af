"""Is a success rate falling over ordered cells? The Cochran-Armitage test, and its power by seeded simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True)
class Trend:
    """The standard normal statistic (negative: the rate falls with the dose) and its two-sided p."""

    z: float
    p: float


def cochran_armitage(doses: Sequence[float], successes: Sequence[int], trials: int) -> Trend:
    """The trend of the success rate over `doses` [cells], with `successes` [cells] of `trials` runs in each cell.

    The p is asymptotic: at 5 runs in each of 4 cells it can reject a true null in 8 % of cases at alpha 5 %; use
    `trend_over_runs` there. If every run succeeded or every run failed, z = 0.

    Raises:
        ValueError: fewer than 2 different doses, unequal lengths, or counts outside 0..trials.
    """
    hits = np.asarray(successes)
    if len(doses) != hits.size or len(set(doses)) < 2:
        raise ValueError("a trend needs at least 2 different doses and one count for each")
    if trials < 1 or (hits < 0).any() or (hits > trials).any():
        raise ValueError(f"counts must lie between 0 and the {trials} runs of a cell")
    z = float(_statistic(np.asarray(doses, dtype=np.float64), hits[None, :], trials)[0])
    return Trend(z, 2 * float(stats.norm.sf(abs(z))))


def trend_power(
    doses: Sequence[float], rates: Sequence[float], trials: int, seed: int, alpha: float = 0.05, draws: int = 10_000
) -> float:
    """How often the two-sided trend test rejects if cell i truly succeeds at `rates[i]` (simulated, seeded)."""
    if len(doses) != len(rates) or not all(0 <= rate <= 1 for rate in rates):
        raise ValueError("each dose needs one true rate between 0 and 1")
    hits = np.random.default_rng(seed).binomial(trials, np.asarray(rates), size=(draws, len(doses)))
    z = _statistic(np.asarray(doses, dtype=np.float64), hits, trials)
    return float(np.mean(np.abs(z) > stats.norm.isf(alpha / 2)))


def _statistic(doses: NDArray[np.float64], hits: NDArray[np.int64], trials: int) -> NDArray[np.float64]:
    """The statistic [draws] from doses [cells] and hits [draws, cells]; zero where the pooled rate is 0 or 1."""
    centred = doses - doses.mean()
    rate = hits.mean(axis=1) / trials
    spread = np.sqrt(trials * rate * (1 - rate) * np.sum(centred**2))
    z = np.zeros(len(hits))
    np.divide(hits @ centred, spread, out=z, where=spread > 0)
    return z
