"""Contrasts of several arms paired by seed, such as a difference of differences or the slope over a dose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audits.statistics.comparison import PairedComparison, compare_paired


@dataclass(frozen=True)
class Sides:
    """The two sides of a contrast, one value a seed each; the contrast is the mean of `plus - minus`."""

    plus: tuple[float, ...]
    minus: tuple[float, ...]


def contrast(arms: Sequence[Sequence[float]], weights: Sequence[float], alpha: float = 0.05) -> PairedComparison:
    """The t interval and sign-flip test of sum_i weights[i] * arms[i], `arms` [arms, n] paired by seed.

    One number a seed, so seeds need share nothing but their pairing: no common variance over the arms is assumed.
    The record's `difference`, `sd` and `mde` are in the units of the weighted sum.

    Raises:
        ValueError: as `contrast_sides` and `compare_paired`.
    """
    sides = contrast_sides(arms, weights)
    return compare_paired(sides.plus, sides.minus, alpha)


def difference_of_differences(
    treated: Sequence[float],
    treated_base: Sequence[float],
    control: Sequence[float],
    control_base: Sequence[float],
    alpha: float = 0.05,
) -> PairedComparison:
    """(treated - treated_base) - (control - control_base), all [n], entry i of each from seed i.

    Example: the gain of a larger chunk with the leak, less the gain of the same change without it.
    """
    return contrast((treated, treated_base, control, control_base), (1.0, -1.0, -1.0, 1.0), alpha)


def contrast_sides(arms: Sequence[Sequence[float]], weights: Sequence[float]) -> Sides:
    """The arms of positive weight against those of negative weight, for the paired tests (`equivalence_paired` too).

    Raises:
        ValueError: unlike numbers of arms and weights, arms of different lengths, or weights that are not finite, all
            zero, or do not sum to zero (a common shift of all arms would then count as an effect).
    """
    if len(arms) != len(weights) or len({len(arm) for arm in arms}) != 1:
        raise ValueError("a contrast needs one weight for each arm and equally many seeds in all arms")
    size = max(abs(weight) for weight in weights)
    if not math.isfinite(size) or size == 0 or abs(math.fsum(weights)) > 1e-9 * size:
        raise ValueError(f"the weights of a contrast are finite, not all zero and sum to zero, got {tuple(weights)}")
    values, factors = np.asarray(arms, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    used = [factors > 0, factors < 0]  # an arm of weight 0 takes no part, even where it diverged
    plus, minus = (np.abs(factors[side]) @ values[side] for side in used)
    return Sides(tuple(plus.tolist()), tuple(minus.tolist()))


def slope_weights(doses: Sequence[float]) -> tuple[float, ...]:
    """The weights [arms] whose contrast is the least-squares slope of the values on `doses` (take log2 of a chunk).

    Raises:
        ValueError: fewer than 2 different doses, or one that is not finite.
    """
    x = np.asarray(doses, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or np.unique(x).size < 2:
        raise ValueError("a slope needs at least 2 different finite doses")
    centred = x - x.mean()
    return tuple((centred / (centred @ centred)).tolist())
