"""The mean of a few runs that are all measured on the same, finite number of questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from audits.statistics.summary import Interval, summarise

MOST = 1000  # runs; more are not planned for


@dataclass(frozen=True)
class Mean:
    """Mean and SD of `n` runs, with the interval of the mean.

    `sampling` is half the width of the interval that the questions alone would give; more runs do not narrow it.
    """

    mean: float
    sd: float
    n: int
    sampling: float
    level: float

    @property
    def half_width(self) -> float:
        """Of the interval: runs by Student's t, questions by the normal distribution, added in quadrature."""
        return self._half(self.n)

    @property
    def interval(self) -> Interval:
        """Two-sided."""
        return Interval(self.mean - self.half_width, self.mean + self.half_width)

    def runs_to_resolve(self, distance: float) -> int | None:
        """Runs whose interval has at most this half width, with the same spread; None where no number has."""
        if distance < self.sampling:
            return None
        return next((n for n in range(2, MOST) if self._half(n) <= distance), None)

    def _half(self, n: int) -> float:
        return math.hypot(float(stats.t.isf((1 - self.level) / 2, n - 1)) * self.sd / math.sqrt(n), self.sampling)


def mean_of_runs(values: Sequence[float], sampling_sd: float = 0.0, level: float = 0.95) -> Mean:
    """The mean of independent runs, [n]; `sampling_sd` is a value's standard error from the questions that all share.

    Raises ValueError for fewer than 2 runs, or a value that is not finite.
    """
    summary = summarise(values)
    return Mean(summary.mean, summary.sd, summary.n, float(stats.norm.isf((1 - level) / 2)) * sampling_sd, level)
