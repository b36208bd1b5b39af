"""Many comparisons in one paper: Holm's correction, and the largest family in which a p value stays significant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    out because scipy corrects for the false discovery rate only.

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


@dataclass(frozen=True)
class Adjusted:
    """One test in its family: its own p, the Holm-adjusted one, and whether it is still rejected."""

    p: float
    adjusted: float
    rejected: bool


def holm_by_claim(p_values: Mapping[str, float], family: int | None = None, alpha: float = 0.05) -> dict[str, Adjusted]:
    """Holm's correction across claims, {claim id: p} in and {claim id: result} out, in the same order.

    A claim enters with one p, that of its fixed test; one that needs two tests to hold both enters with the larger.
    `family` is the number of comparisons made in all: those whose p nobody can compute count as p = 1. By default
    there are no others.

    Raises:
        ValueError: no claim, a p value outside [0, 1] (not-a-number too, named with its claim), or a family smaller
            than the number of claims.
    """
    wrong = [f"{claim} = {p}" for claim, p in p_values.items() if not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"p values lie between 0 and 1, got {', '.join(wrong)}")
    size = len(p_values) if family is None else family
    if size < len(p_values):
        raise ValueError(f"a family of {size} cannot hold {len(p_values)} claims")
    result = holm([*p_values.values(), *[1.0] * (size - len(p_values))], alpha)
    each = zip(p_values.items(), result.adjusted, result.rejected, strict=False)  # the unknown ones are left out
    return {claim: Adjusted(p, adjusted, rejected) for (claim, p), adjusted, rejected in each}


def holm_among_unknown(p: float, family: int) -> float:
    """The Holm-adjusted p of one test in a family whose other members cannot be computed and so count as p = 1.

    It is then the smallest of the family, so that Holm's correction is Bonferroni's.

    Raises:
        ValueError: an empty family, or a p value outside [0, 1].
    """
    if family < 1 or not 0 <= p <= 1:
        raise ValueError(f"need a family of at least 1 and a p value between 0 and 1, got {family} and {p}")
    return min(1.0, p * family)


def largest_family(p: float, alpha: float = 0.05) -> int:
    """The largest family in which `p` is significant by `holm_among_unknown`; 0 if it is not significant alone."""
    if not 0 < p <= 1 or not 0 < alpha < 1:
        raise ValueError(f"need 0 < p <= 1 and 0 < alpha < 1, got p={p}, alpha={alpha}")
    return math.floor(alpha / p)
