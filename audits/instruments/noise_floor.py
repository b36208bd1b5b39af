"""Distinguishes a leak from rounding: a leak does not depend on the precision of the computation, rounding does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audits.results import Verdict
from audits.subject.randomness import generator
from audits.subject.subject import Subject

# Going from float32 to float64 shrinks rounding by 2^-29. Two rounding errors of the same computation differ by chance,
# so 2^9 of that ratio is the margin; an effect that shrinks by less than 2^-20 is not rounding.
SHRINKAGE = 2.0**-20
# Rounding errors of a few dozen operations, in units of eps times the output: smaller effects cannot be distinguished.
ROUNDINGS = 64.0
CALLS = 8  # in which the noise of a subject that is not deterministic is measured; our choice
# Tables of a model made in a coarse dtype keep that rounding when it is cast, and calls of different shape may read
# different tables for the same value (decays in a chunk and from step to step); our choice.
TABLES = 8.0


@dataclass(frozen=True)
class SignificanceDecision:
    """Whether an effect is a leak, and the noise floor that it was compared with."""

    verdict: Verdict
    noise_floor: float


def comparable(outputs: Tensor) -> bool:
    """Whether outputs [R, N, F] can be compared: no NaN, and a finite number at every position.

    Single infinities are fine, as of tokens that a model never predicts; equal ones are equal.
    """
    return not bool(outputs.isnan().any()) and bool(outputs.isfinite().any(-1).all())


def max_abs_diff(a: Tensor, b: Tensor) -> Tensor:
    """Largest absolute difference at each position, [R, N] float64, of outputs [R, N, F].

    Not-a-number against not-a-number counts as equal, against a number as an infinite difference.
    """
    a, b = a.detach().double(), b.detach().double()
    difference = (a - b).abs()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, difference)
    return difference.masked_fill(difference.isnan(), float("inf")).amax(-1)


def scale_of(outputs: Tensor) -> float:
    """The largest finite absolute output: rounding is relative to it."""
    return float(outputs.double().nan_to_num(nan=0, posinf=0, neginf=0).abs().max())


def noise_of(subject: Subject) -> float:
    """How far calls on equal input differ when others come between: 0 for every deterministic subject.

    Else four times the largest difference among a few; a smaller leak cannot be distinguished from chance (our choice).
    """
    if subject.noise is None:
        base = subject.base()
        first, gen = subject.run(base), generator(subject.settings.seed, "noise")
        subject.noise = 0.0
        for _ in range(CALLS):
            subject.run(subject.draw(1, base.shape[1], gen))
            subject.noise = max(subject.noise, 4 * float(max_abs_diff(first, subject.run(base)).max()))
            if subject.noise == 0:
                break
    return subject.noise


def rounding(subject: Subject, scale: float) -> float:
    """The largest effect that rounding may have on outputs of a size, in the subject's own precision."""
    return ROUNDINGS * torch.finfo(subject.compute_dtype or torch.float32).eps * scale


def decide(
    subject: Subject,
    effect: float,
    measure: Callable[[Subject], float],
    *,
    same_shape: bool,
    scale: float,
    noise: float | None = None,
) -> SignificanceDecision:
    """Decide whether an effect is a leak.

    Args:
        subject: in which the effect was seen.
        effect: largest absolute difference, in output units.
        measure: measures the same effect again, in this precision or another.
        same_shape: whether both sides ran on equally shaped inputs, so that rounding had no reason to differ.
        scale: largest absolute output, the unit of relative rounding.
        noise: the difference between runs that ought to be equal, usually 0; measured here when None.

    Returns:
        LEAK above the noise floor, PASS below; an effect that is not reproduced every time becomes the subject's noise.
        Where rounding and leak cannot be distinguished: UNDETERMINED for equal shapes, PASS (at that floor) for
        different shapes, where rounding is to be expected. An effect of different shapes is UNDETERMINED in a subject
        that draws random numbers, because it draws others at another shape.
    """
    noise = noise_of(subject) if noise is None else noise
    finest = max(noise, ROUNDINGS * torch.finfo(torch.float64).eps * scale)
    if effect <= noise or (subject.compute_dtype == torch.float64 and effect <= finest):
        return SignificanceDecision(Verdict.PASS, noise if effect <= noise else finest)
    coarsest = max(noise, rounding(subject, scale))
    if subject.is_float64_throughout and subject.float32_copy is not None:
        floor = max(finest, _finite(measure(subject.float32_copy)) * SHRINKAGE)
    elif subject.float64_reference is not None:
        floor = max(finest, _finite(effect) * SHRINKAGE)
        if measure(subject.float64_reference) <= floor:  # gone in float64: rounding, unless larger than rounding can be
            # Equal shapes round nearly alike; on the same path no branch on the dtype can hide the effect in float64.
            other_path = same_shape and not subject.float64_reference.same_path
            doubtful = other_path and effect > max(noise, coarsest / 8)
            return SignificanceDecision(Verdict.UNDETERMINED if doubtful else Verdict.PASS, max(coarsest, finest))
        floor = floor if same_shape else max(floor, coarsest * TABLES / ROUNDINGS)
    else:
        floor = coarsest
        if effect <= floor and same_shape:
            return SignificanceDecision(Verdict.UNDETERMINED, floor)
    if effect > floor and not noise and not _is_reproduced(subject, effect, measure, floor):
        subject.noise = 4 * effect
        return SignificanceDecision(Verdict.PASS, subject.noise)
    if effect > floor and not same_shape and draws_randomly(subject):
        return SignificanceDecision(Verdict.UNDETERMINED, floor)
    return SignificanceDecision(Verdict.LEAK if effect > floor else Verdict.PASS, floor)


def draws_randomly(subject: Subject) -> bool:
    """Whether the outputs in evaluation mode depend on the seed of the global generators."""
    if subject.draws_randomly is None:
        base, seed = subject.base(), subject.settings.seed
        one, two = (subject.run(base, seed=each) for each in (seed, seed + 1))
        subject.draws_randomly = bool(max_abs_diff(one, two).max() > 0)
    return subject.draws_randomly


def _is_reproduced(subject: Subject, effect: float, measure: Callable[[Subject], float], floor: float) -> bool:
    """Whether an effect is found however often it is measured; intermittent noise is not.

    A subject in which one effect was the same to the last bit needs no such check again.
    """
    if not subject.reproducible:
        effects = [measure(subject) for _ in range(CALLS)]
        subject.reproducible = set(effects) == {effect}
        return min(effects) > floor
    return True


def _finite(effect: float) -> float:
    return effect if math.isfinite(effect) else 0.0
