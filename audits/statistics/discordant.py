"""Paired yes-or-no outcomes: only pairs that differ tell anything. McNemar's exact test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Discordant:
    """How many pairs succeeded in the treated arm alone and in the control alone, and the exact two-sided p."""

    gained: int
    lost: int
    pairs: int
    p: float


def discordant(treated: Sequence[bool], control: Sequence[bool]) -> Discordant:
    """McNemar's exact test of `treated` [n] against `control` [n], entry i of both from seed i; p = 1 if none differ.

    Raises:
        ValueError: no pair, or unequal lengths.
    """
    if not treated or len(treated) != len(control):
        raise ValueError(f"pairs need equally many runs in both arms, got {len(treated)} and {len(control)}")
    gained = sum(a and not b for a, b in zip(treated, control, strict=True))
    lost = sum(b and not a for a, b in zip(treated, control, strict=True))
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Discordant(gained, lost, len(treated), p)
