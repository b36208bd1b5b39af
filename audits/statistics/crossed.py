"""A mean over crossed seeds and blocks of text: every seed is measured on the same blocks, so both are noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from audits.statistics.levels import ALPHA, POWER
from audits.statistics.summary import Interval

Matrix = Sequence[Sequence[float]]
_MOST = 200  # seeds; more are not planned for


@dataclass(frozen=True)
class PairedComparison:
    """Treated minus control over `n` seeds, in the units of the values.

    `p` is that of the t test. `mde` is the true difference detected with 80 % power and `seeds_needed` the seeds that
    detect a true difference as large as the observed one; both take the estimated SD for the true one. `seeds_needed`
    is None where the noise of the text alone hides the difference. `sd` is that of the per-seed differences.
    """

    difference: float
    interval: Interval  # two-sided, at level 1 - alpha
    p: float
    mde: float
    seeds_needed: int | None
    n: int
    alpha: float
    sd: float

    @property
    def significant(self) -> bool:
        """Whether the t test rejects at `alpha`."""
        return self.p <= self.alpha


@dataclass(frozen=True)
class _Crossed:
    """The mean, the SD of the n seeds' means, and the variance of the mean that the blocks alone would leave."""

    mean: float
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

    def quantile(self, tail: float) -> float:
        """Of Student's t."""
        return float(stats.t.isf(tail, self.df))

    def detectable(self, alpha: float) -> float:
        """The true difference that is found with the usual power; approximate, as the SD is estimated."""
        return (self.quantile(alpha / 2) + self.quantile(1 - POWER)) * self.error


def crossed(differences: Matrix, alpha: float = ALPHA) -> PairedComparison:
    """The mean of differences [seeds][blocks], both random, with its t interval.

    Its variance is that of the means of the seeds over their number, plus that of the means of the blocks over theirs;
    the residual is counted in both, so the interval is a little too wide.

    Raises:
        ValueError: fewer than 2 seeds or blocks, rows of different lengths, a value that is not finite, or equal seeds.
    """
    found = _fit(differences)
    half = found.quantile(alpha / 2) * found.error
    enough = (n for n in range(2, _MOST) if replace(found, n=n).detectable(alpha) <= abs(found.mean))
    return PairedComparison(
        difference=found.mean,
        interval=Interval(found.mean - half, found.mean + half),
        p=2 * float(stats.t.sf(abs(found.mean) / found.error, found.df)),
        mde=found.detectable(alpha),
        seeds_needed=next(enough, None),
        n=found.n,
        alpha=alpha,
        sd=found.sd,
    )


def within(differences: Matrix, margin: float) -> float:
    """The p of two one-sided tests that the mean of differences [seeds][blocks] lies within the margin."""
    found = _fit(differences)
    return float(stats.t.sf((margin - abs(found.mean)) / found.error, found.df))


def _fit(differences: Matrix) -> _Crossed:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
        raise ValueError(f"need a finite [seeds >= 2][blocks >= 2] matrix, got shape {values.shape}")
    seeds, blocks = values.mean(1), values.mean(0)
    if np.ptp(seeds) == 0:
        raise ValueError("all seeds are equal: they did not take effect")
    n, many = values.shape
    return _Crossed(float(values.mean()), float(seeds.std(ddof=1)), n, float(blocks.var(ddof=1)) / many, many)


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
