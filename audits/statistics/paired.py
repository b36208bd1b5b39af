"""The paired t interval: the same seed in both arms, one difference a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from audits.statistics.summary import Interval, summarise

ROUNDING = 1e-13  # relative to the largest value: differences that vary less do so because of float64 rounding


@dataclass(frozen=True)
class Paired:
    """Mean of the per-seed differences, its t interval with n - 1 degrees of freedom, and the two-sided p."""

    difference: float
    interval: Interval
    sd: float  # of the differences
    standard_error: float  # of their mean
    df: int
    p: float


def paired(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Paired:
    """The paired t test and interval of `a - b`; `a` and `b` are [n], entry i of both from seed i.

    Raises:
        ValueError: unequal lengths, fewer than 2 pairs, no spread, or a level outside (0, 1).
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many runs in both arms, got {len(a)} and {len(b)}")
    if not 0 < level < 1:
        raise ValueError(f"the level must lie between 0 and 1, got {level}")
    differences = summarise([x - y for x, y in zip(a, b, strict=True)])
    if differences.sd <= ROUNDING * max(map(abs, (*a, *b))):
        raise ValueError("all paired differences are equal: the seeds did not take effect")
    mean, error, df = differences.mean, differences.sd / math.sqrt(differences.n), differences.n - 1
    half = float(stats.t.isf((1 - level) / 2, df)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, df))
    return Paired(mean, Interval(mean - half, mean + half), differences.sd, error, df, p)
