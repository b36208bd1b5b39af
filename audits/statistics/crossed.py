"""A mean over crossed seeds and blocks of text: every seed is measured on the same blocks, so both are noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import stats

from audits.statistics.levels import ALPHA, POWER
from audits.statistics.summary import Interval

Matrix = Sequence[Sequence[float]]
_MOST = 200  # seeds; more are not planned for


@dataclass(frozen=True)
class PairedComparison:
    """The mean over `n` seeds of treated minus control, in the units of the values, with its t interval.

    Attributes:
        difference: the mean.
        sd: of the differences of the seeds.
        n: seeds.
        text: the variance of the mean that the blocks alone would leave.
        blocks: of text.
    """

    difference: float
    sd: float
    n: int
    text: float
    blocks: int

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return math.sqrt(self.sd**2 / self.n + self.text)

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom."""
        noise = self.sd**2 / self.n
        return float((noise + self.text) ** 2 / (noise**2 / (self.n - 1) + self.text**2 / (self.blocks - 1)))

    @cached_property
    def interval(self) -> Interval:
        """Two-sided, at level 1 - `ALPHA`."""
        half = self._quantile(ALPHA / 2) * self.error
        return Interval(self.difference - half, self.difference + half)

    @cached_property
    def p(self) -> float:
        """Of the two-sided t test of no difference."""
        return 2 * float(stats.t.sf(abs(self.difference) / self.error, self.df))

    @property
    def significant(self) -> bool:
        """Whether the t test rejects."""
        return self.p <= ALPHA

    def within(self, margin: float) -> float:
        """The p of two one-sided tests that the mean lies within the margin."""
        return float(stats.t.sf((margin - abs(self.difference)) / self.error, self.df))

    @cached_property
    def mde(self) -> float:
        """The true difference that is found with the usual power, taking the estimated SD for the true one."""
        return (self._quantile(ALPHA / 2) + self._quantile(1 - POWER)) * self.error

    @cached_property
    def seeds_needed(self) -> int | None:
        """The seeds that find a true difference of this size; None where the noise of the text alone hides it."""
        enough = (n for n in range(2, _MOST) if replace(self, n=n).mde <= abs(self.difference))
        return next(enough, None)

    def _quantile(self, tail: float) -> float:
        return float(stats.t.isf(tail, self.df))


def crossed(differences: Matrix) -> PairedComparison:
    """The mean of differences [seeds][blocks], both random.

    Its variance is that of the means of the seeds over their number, plus that of the means of the blocks over theirs;
    the residual is counted in both, so the interval is a little too wide.

    Raises:
        ValueError: fewer than 2 seeds or blocks, rows of different lengths, a value that is not finite, or equal seeds.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(f"need a finite [seeds >= 2][blocks >= 2] matrix, got shape {values.shape}")
    seeds, blocks = values.mean(1), values.mean(0)
    if np.ptp(seeds) == 0:
        raise ValueError("all seeds are equal: they did not take effect")
    n, many = values.shape
    text = float(blocks.var(ddof=1)) / many
    return PairedComparison(float(values.mean()), float(seeds.std(ddof=1)), n, text, many)


def slope_weights(doses: Sequence[float]) -> tuple[float, ...]:
    """The weights [arms] whose sum is the least-squares slope over `doses` (take log2 of a chunk or a width).

    Raises:
        ValueError: fewer than 2 different doses, or one that is not finite.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a slope needs at least 2 different finite doses")
    centred = x - x.mean()
    return tuple((centred / (centred @ centred)).tolist())
