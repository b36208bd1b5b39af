"""A mean over crossed seeds and blocks of text: every seed is measured on the same blocks, so both are noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from audits.statistics.levels import ALPHA, POWER
from audits.statistics.t_test import TTest

Matrix = Sequence[Sequence[float]]
_MOST = 200  # seeds; more are not planned for


@dataclass(frozen=True)
class PairedComparison(TTest):
    """The mean over `n` seeds of treated minus control, in the units of the values."""

    sd: float  # of the differences of the seeds
    n: int
    text: float  # the variance of the mean that the blocks alone would leave
    blocks: int  # of text

    @cached_property
    def mde(self) -> float:
        """The true difference that is found with the usual power, taking the estimated SD for the true one."""
        return (self._quantile(ALPHA / 2) + self._quantile(1 - POWER)) * self.standard_error

    @cached_property
    def seeds_needed(self) -> int | None:
        """The seeds that find a true difference of this size; None where the noise of the text alone hides it."""
        planned = (_compared(self.difference, self.sd, n, self.text, self.blocks) for n in range(2, _MOST))
        return next((plan.n for plan in planned if plan.mde <= abs(self.difference)), None)


def crossed(differences: Matrix) -> PairedComparison:
    """The mean of differences [seeds][blocks], both random.

    Its variance is that of the means of the seeds over their number, plus that of the means of the blocks over theirs;
    the residual is counted in both, so the interval is a little too wide. Raises ValueError for fewer than 2 seeds or
    blocks, rows of different lengths, a value that is not finite, or equal seeds.
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(f"need a finite [seeds >= 2][blocks >= 2] matrix, got shape {values.shape}")
    seeds, blocks = values.mean(1), values.mean(0)
    if np.ptp(seeds) == 0:
        raise ValueError("all seeds are equal: they did not take effect")
    n, many = values.shape
    return _compared(float(values.mean()), float(seeds.std(ddof=1)), n, float(blocks.var(ddof=1)) / many, many)


def _compared(difference: float, sd: float, n: int, text: float, blocks: int) -> PairedComparison:
    noise = sd**2 / n
    df = (noise + text) ** 2 / (noise**2 / (n - 1) + text**2 / (blocks - 1))
    return PairedComparison(difference, math.sqrt(noise + text), df, sd, n, text, blocks)


def slope_weights(doses: Sequence[float]) -> tuple[float, ...]:
    """The weights [arms] whose sum is the least-squares slope over `doses` (take log2 of a chunk or a width).

    Raises ValueError for fewer than 2 different doses, or one that is not finite.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a slope needs at least 2 different finite doses")
    centred = x - x.mean()
    return tuple((centred / (centred @ centred)).tolist())
