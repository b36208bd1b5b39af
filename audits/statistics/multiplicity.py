"""Many comparisons in one paper: Holm's correction, and how many comparisons a p value survives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Holm:
    """Holm-adjusted p values and rejections, [family], in the order given."""

    adjusted: tuple[float, ...]
    rejected: tuple[bool, ...]


def holm(p_values: Sequence[float], alpha: float = 0.05) -> Holm:
    """Holm's step-down correction over a family [family]: at most `alpha` chance of any false rejection.

    The i-th smallest p (from 0) is multiplied by family - i; adjusted values never fall below an earlier one. Written
    out because statsmodels collects garbage at every call, which makes simulations with it minutes long.

    Raises:
        ValueError: an empty family, or a p value outside [0, 1].
    """
    if not p_values or not all(0 <= p <= 1 for p in p_values):
        raise ValueError("Holm's correction needs at least one p value, all between 0 and 1")
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return Holm(tuple(adjusted.tolist()), tuple((adjusted <= alpha).tolist()))


def holm_among_unknown(p: float, family: int, alpha: float = 0.05) -> float:
    """The adjusted p of one test in a family whose other members cannot be computed and so count as p = 1.

    That is the least favourable place in Holm's order, where it equals Bonferroni's.

    Raises:
        ValueError: an empty family, or a p value outside [0, 1].
    """
    if family < 1:
        raise ValueError(f"a family has at least one member, got {family}")
    return holm([p] + [1.0] * (family - 1), alpha).adjusted[0]


def largest_family(p: float, alpha: float = 0.05) -> int:
    """The number of comparisons up to which `p` survives `holm_among_unknown`; 0 if not even alone."""
    if not 0 < p <= 1 or not 0 < alpha < 1:
        raise ValueError(f"need 0 < p <= 1 and 0 < alpha < 1, got p={p}, alpha={alpha}")
    return math.floor(alpha / p)
