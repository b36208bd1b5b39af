"""Many comparisons in one paper: Holm's correction, and the largest family in which a p value stays significant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audits.statistics.levels import ALPHA


@dataclass(frozen=True)
class Adjusted:
    """One test in its family: its own p, the Holm-adjusted one, and whether it is still rejected."""

    p: float
    adjusted: float
    rejected: bool


def holm(p_values: Sequence[float], family: int | None = None) -> tuple[Adjusted, ...]:
    """Holm's step-down correction at `ALPHA`, in the order given: at most that chance of any false rejection.

    The i-th smallest p (from 0) is multiplied by family - i; adjusted values never fall below an earlier one. Written
    out because scipy corrects for the false discovery rate only. `family` is the number of comparisons made in all:
    those whose p nobody can compute count as p = 1. By default there are no others.
    """
    if not p_values or not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"Holm's correction needs at least one p value, all between 0 and 1, got {list(p_values)}")
    size = len(p_values) if family is None else family
    if size < len(p_values):
        raise ValueError(f"a family of {size} cannot hold {len(p_values)} tests")
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * (size - np.arange(p.size))))
    return tuple(Adjusted(p, each, each <= ALPHA) for p, each in zip(p_values, adjusted.tolist(), strict=True))


def largest_family(p: float) -> int:
    """The largest family in which `p` is significant if no other p can be computed; 0 if it is not significant alone.

    It is then the smallest of the family, so that Holm's correction is Bonferroni's.
    """
    if not 0 < p <= 1:
        raise ValueError(f"need 0 < p <= 1, got {p}")
    return math.floor(ALPHA / p)
