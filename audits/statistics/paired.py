"""The paired t interval: the same seed in both arms, one difference a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from audits.statistics.summary import Interval, summarise

ROUNDING = 1e-13  # of the largest value: differences that vary less do so because of rounding to 53 bits


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
    gaps = summarise([x - y for x, y in zip(a, b, strict=True)])
    size = max(abs(value) for value in (*a, *b))
    if gaps.sd <= ROUNDING * size:
        raise ValueError("all paired differences are equal: the seeds did not take effect")
    df, error = gaps.n - 1, gaps.sd / math.sqrt(gaps.n)
    half = float(stats.t.isf((1 - level) / 2, df)) * error
    p = 2 * float(stats.t.sf(abs(gaps.mean) / error, df))
    return Paired(gaps.mean, Interval(gaps.mean - half, gaps.mean + half), gaps.sd, error, df, p)
