"""Exact permutation tests, and the smallest p they can reach: with few seeds that is arithmetic, not evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LIMIT = 200_000  # rearrangements enumerated at most (our choice: under a second)


@dataclass(frozen=True)
class Permutation:
    """A two-sided exact p (twice the smaller tail); `smallest_p` is that of the most extreme data without ties."""

    p: float
    smallest_p: float
    rearrangements: int


def sign_flip(differences: Sequence[float]) -> Permutation:
    """The paired test: under no effect each of the [n] per-seed differences is as likely with either sign.

    Raises:
        ValueError: no or non-finite differences, or more than `LIMIT` sign patterns.
    """
    gaps = _finite(differences)
    return _exact((gaps,), lambda x, axis: np.mean(x, axis=axis), "samples", 2**gaps.size)


def two_sample(a: Sequence[float], b: Sequence[float]) -> Permutation:
    """The unpaired test of the difference of means of `a` [n] and `b` [m]: labels are exchangeable.

    Raises:
        ValueError: an empty or non-finite arm, or more than `LIMIT` ways to deal out the labels.
    """
    x, y = _finite(a), _finite(b)
    ways = math.comb(x.size + y.size, x.size)
    return _exact((x, y), lambda p, q, axis: np.mean(p, axis=axis) - np.mean(q, axis=axis), "independent", ways)


def _exact(data: tuple[NDArray[np.float64], ...], statistic: Any, kind: str, ways: int) -> Permutation:
    if ways > LIMIT:
        raise ValueError(f"{ways} rearrangements exceed {LIMIT}; with so many runs use the t test")
    result = stats.permutation_test(
        data, statistic, permutation_type=kind, vectorized=True, n_resamples=np.inf, alternative="two-sided"
    )
    return Permutation(float(result.pvalue), min(1.0, 2 / ways), ways)


def _finite(values: Sequence[float]) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < 1 or not np.isfinite(array).all():
        raise ValueError("a permutation test needs a flat, non-empty list of finite values")
    return array
