"""Summaries of an arm (mean, spread, number of runs), and what a printed spread may mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from audits.statistics.levels import ALPHA


class Reading(StrEnum):
    """What an undefined "±" may stand for: the standard deviation over runs, or SD / sqrt(runs), that of the mean."""

    SD = "SD"
    SEM = "SEM"


@dataclass(frozen=True)
class Summary:
    """Sample mean, sample standard deviation (n - 1 in the denominator) and number of independent runs."""

    mean: float
    sd: float
    n: int

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"a summary needs at least 1 run, got n={self.n}")
        if not (math.isfinite(self.mean) and math.isfinite(self.sd) and self.sd >= 0):
            raise ValueError(f"mean and SD must be finite and SD >= 0, got mean={self.mean}, sd={self.sd}")


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval, in the units of what it bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class Printed:
    """One arm as printed, "mean ± spread (n seeds)", the meaning of the spread left open."""

    mean: float
    spread: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean} ± {self.spread} ({self.n} seeds)"

    def read_as(self, reading: Reading) -> Summary:
        """The summary under one reading of "±"; an SEM is multiplied by sqrt(n) to give the SD."""
        factor = math.sqrt(self.n) if reading is Reading.SEM else 1.0
        return Summary(self.mean, self.spread * factor, self.n)


def summarise(samples: Sequence[float]) -> Summary:
    """Mean and SD of [n] values of independent runs; ValueError for fewer than 2, or one that is not finite."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"an SD needs a flat list of at least 2 runs, got shape {values.shape}; add seeds")
    if not np.isfinite(values).all():
        raise ValueError("a run's value is not finite; drop diverged runs explicitly and say so")
    return Summary(float(values.mean()), float(values.std(ddof=1)), int(values.size))


def pooled_sd(a: Summary, b: Summary) -> float:
    """The SD common to two arms, weighted by their degrees of freedom; ValueError where neither arm has 2 runs."""
    df = a.n + b.n - 2
    if df < 1:
        raise ValueError("two single runs have no pooled SD; run each arm with at least 2 seeds")
    return math.sqrt(((a.n - 1) * a.sd**2 + (b.n - 1) * b.sd**2) / df)


def sd_interval(sd: float, df: int) -> Interval:
    """The 95 % chi-squared interval of an SD known from `df` degrees of freedom, normal noise assumed."""
    if sd < 0 or df < 1:
        raise ValueError(f"need sd >= 0 and df >= 1, got sd={sd}, df={df}")
    tail = ALPHA / 2
    return Interval(sd * math.sqrt(df / stats.chi2.isf(tail, df)), sd * math.sqrt(df / stats.chi2.ppf(tail, df)))
