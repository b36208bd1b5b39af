"""Does a success rate rise or fall over ordered cells? The Cochran-Armitage test, for many runs a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
    centred, rate = np.asarray(doses, dtype=np.float64) - np.mean(doses), float(hits.mean()) / trials
    sd = math.sqrt(trials * rate * (1 - rate) * float(np.sum(centred**2)))
    z = float(hits @ centred) / sd if sd else 0.0
    return Trend(z, 2 * float(stats.norm.sf(abs(z))))
