"""Permutation tests, and the smallest p they can reach, which with few seeds depends on their number alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LIMIT = 200_000  # rearrangements enumerated at most (our choice: under a second)
DRAWS = 20_000  # rearrangements drawn where there are more (our choice: a p near .05 is then known to about .003)


@dataclass(frozen=True)
class Permutation:
    """A two-sided p (twice the smaller tail); `smallest_p` is that of the most extreme data without ties.

    Exact unless `sampled`: then from seeded draws, the observed arrangement counted among them, so that it is valid.
    """

    p: float
    smallest_p: float
    rearrangements: int
    sampled: bool = False


def sign_flip(differences: Sequence[float], seed: int = 0) -> Permutation:
    """The paired test: under no effect each of the [n] per-seed differences is as likely with either sign."""
    values = _finite(differences)
    return _permuted((values,), np.mean, "samples", 2**values.size, seed)


def two_sample(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Permutation:
    """The unpaired test of the difference of means of `a` [n] and `b` [m]: labels are exchangeable."""
    x, y = _finite(a), _finite(b)
    ways = math.comb(x.size + y.size, x.size)
    return _permuted((x, y), lambda p, q, axis: p.mean(axis=axis) - q.mean(axis=axis), "independent", ways, seed)


def _permuted(data: tuple[NDArray[np.float64], ...], statistic: Any, kind: str, ways: int, seed: int) -> Permutation:
    sampled = ways > LIMIT
    result = stats.permutation_test(
        data,
        statistic,
        permutation_type=kind,
        vectorized=True,
        n_resamples=DRAWS if sampled else np.inf,
        alternative="two-sided",
        batch=DRAWS,
        rng=np.random.default_rng(seed),
    )
    return Permutation(float(result.pvalue), min(1.0, 2 / (DRAWS + 1 if sampled else ways)), ways, sampled)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 1 or not np.isfinite(array).all():
        raise ValueError("a permutation test needs a flat, non-empty list of finite values")
    return array
