"""Tells a leak from rounding: a leak does not care in which precision it is computed, rounding does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audits.subject import Subject
from audits.verdicts import Verdict

# Going from float32 to float64 shrinks rounding by 2^-29. Two rounding errors of the same computation differ by chance,
# so 2^9 of that ratio is left as room; an effect that shrinks by less than 2^-20 is not rounding.
SHRINKAGE = 2.0**-20
# Rounding errors of a few dozen operations, in units of eps times the output: no smaller effect can be told from them.
ROUNDINGS = 64.0


@dataclass(frozen=True)
class Weighed:
    """An effect judged against its noise floor."""

    verdict: Verdict
    noise_floor: float


def gap(a: Tensor, b: Tensor) -> Tensor:
    """Largest absolute difference at each position, [R, N] float64, of outputs [R, N, F].

    Not-a-number against not-a-number counts as equal, against a number as an infinite difference.
    """
    a, b = a.detach().double(), b.detach().double()
    difference = (a - b).abs()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, difference)
    return difference.masked_fill(difference.isnan(), float("inf")).amax(-1)


def weigh(
    subject: Subject, effect: float, repeat: float, again: Callable[[Subject], float], *, same_shape: bool, scale: float
) -> Weighed:
    """Judge an effect.

    Args:
        subject: in which the effect was seen.
        effect: largest absolute difference, in output units.
        repeat: the difference between runs that ought to be equal; measured, usually 0.
        again: measures the same effect in another precision.
        same_shape: whether both sides ran on equally shaped inputs, so that rounding had no reason to differ.
        scale: largest absolute output, the unit of relative rounding.

    Returns:
        LEAK above the noise floor, PASS below. Where rounding and leak cannot be told apart: UNDETERMINED for equal
        shapes, PASS (at that floor) for different shapes, where rounding is to be expected.
    """
    rounding = ROUNDINGS * torch.finfo(subject.internal or subject.dtype or torch.float32).eps * scale
    if effect <= repeat:
        return Weighed(Verdict.PASS, repeat)
    if subject.lower is not None:
        finest = max(repeat, ROUNDINGS * torch.finfo(torch.float64).eps * scale)
        if effect <= finest:
            return Weighed(Verdict.PASS, finest)
        lower = again(subject.lower)
        floor = max(finest, lower * SHRINKAGE if math.isfinite(lower) else 0.0)
        if subject.pure or effect <= floor:
            return Weighed(Verdict.LEAK if effect > floor else Verdict.PASS, floor)
    floor = max(repeat, rounding)
    if effect > floor:
        return Weighed(Verdict.LEAK, floor)
    return Weighed(Verdict.UNDETERMINED if same_shape else Verdict.PASS, floor)
