"""Tells a leak from rounding: a leak does not care in which precision it is computed, rounding does."""

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
# so 2^9 of that ratio is left as room; an effect that shrinks by less than 2^-20 is not rounding.
SHRINKAGE = 2.0**-20
# Rounding errors of a few dozen operations, in units of eps times the output: no smaller effect can be told from them.
ROUNDINGS = 64.0
CALLS = 8  # in which the noise of a subject that is not deterministic is looked for; our choice
# Tables of a model made in a coarse dtype keep that rounding when it is cast, and calls of different shape may read
# different tables for the same thing (decays in a chunk and from step to step); our choice.
TABLES = 8.0


@dataclass(frozen=True)
class Weighed:
    """An effect judged against its noise floor."""

    verdict: Verdict
    noise_floor: float


def readable(outputs: Tensor) -> bool:
    """Whether outputs [R, N, F] can be compared: no NaN, and a finite number at every position.

    Single infinities are fine, as of tokens that a model never predicts; equal ones are equal.
    """
    return not bool(outputs.isnan().any()) and bool(outputs.isfinite().any(-1).all())


def gap(a: Tensor, b: Tensor) -> Tensor:
    """Largest absolute difference at each position, [R, N] float64, of outputs [R, N, F].

    Not-a-number against not-a-number counts as equal, against a number as an infinite difference.
    """
    a, b = a.detach().double(), b.detach().double()
    difference = (a - b).abs()
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, difference)
    return difference.masked_fill(difference.isnan(), float("inf")).amax(-1)


def noise_of(subject: Subject) -> float:
    """How far calls on equal input differ when others come between: 0 for every deterministic subject.

    Else four times the largest difference among a few; no leak below that can be told from chance (our choice).
    """
    if subject.noise is None:
        base = subject.base()
        first, gen = subject.run(base), generator(subject.settings.seed, "noise")
        subject.noise = 0.0
        for _ in range(CALLS):
            subject.run(subject.draw(1, base.shape[1], gen))
            subject.noise = max(subject.noise, 4 * float(gap(first, subject.run(base)).max()))
            if subject.noise == 0:
                break
    return subject.noise


def rounding(subject: Subject, scale: float) -> float:
    """The largest effect that rounding may have on outputs of a size, in the subject's own precision."""
    return ROUNDINGS * torch.finfo(subject.internal or torch.float32).eps * scale


def weigh(
    subject: Subject,
    effect: float,
    again: Callable[[Subject], float],
    *,
    same_shape: bool,
    scale: float,
    repeat: float | None = None,
) -> Weighed:
    """Judge an effect.

    Args:
        subject: in which the effect was seen.
        effect: largest absolute difference, in output units.
        again: measures the same effect in another precision.
        same_shape: whether both sides ran on equally shaped inputs, so that rounding had no reason to differ.
        scale: largest absolute output, the unit of relative rounding.
        repeat: the difference between runs that ought to be equal; measured here when None, usually 0.

    Returns:
        LEAK above the noise floor, PASS below; an effect that does not show every time becomes the subject's noise.
        Where rounding and leak cannot be told apart: UNDETERMINED for equal shapes, PASS (at that floor) for different
        shapes, where rounding is to be expected. An effect of different shapes is UNDETERMINED in a subject that draws
        random numbers, because it draws others at another shape.
    """
    repeat = noise_of(subject) if repeat is None else repeat
    finest = max(repeat, ROUNDINGS * torch.finfo(torch.float64).eps * scale)
    if effect <= repeat or (subject.internal == torch.float64 and effect <= finest):
        return Weighed(Verdict.PASS, repeat if effect <= repeat else finest)
    coarsest = max(repeat, rounding(subject, scale))
    if subject.pure and subject.lower is not None:
        floor = max(finest, _finite(again(subject.lower)) * SHRINKAGE)
    elif subject.finer is not None:
        floor = max(finest, effect * SHRINKAGE if math.isfinite(effect) else 0.0)
        if again(subject.finer) <= floor:  # gone in float64: rounding, unless larger than rounding can be
            # Equal shapes round nearly alike; on the same path no branch on the dtype can hide the effect in float64.
            unlike = same_shape and not subject.finer.same_path
            doubtful = unlike and effect > max(repeat, coarsest / 8)
            return Weighed(Verdict.UNDETERMINED if doubtful else Verdict.PASS, max(coarsest, finest))
        floor = floor if same_shape else max(floor, coarsest * TABLES / ROUNDINGS)
    else:
        floor = coarsest
        if effect <= floor and same_shape:
            return Weighed(Verdict.UNDETERMINED, floor)
    if effect > floor and not repeat and not _shows_every_time(subject, effect, again, floor):
        subject.noise = 4 * effect
        return Weighed(Verdict.PASS, subject.noise)
    if effect > floor and not same_shape and draws_numbers(subject):
        return Weighed(Verdict.UNDETERMINED, floor)
    return Weighed(Verdict.LEAK if effect > floor else Verdict.PASS, floor)


def draws_numbers(subject: Subject) -> bool:
    """Whether the outputs in evaluation mode depend on the seed of the global generators."""
    if subject.random is None:
        base, seed = subject.base(), subject.settings.seed
        subject.random = bool(gap(subject.run(base, seed=seed), subject.run(base, seed=seed + 1)).max() > 0)
    return subject.random


def _shows_every_time(subject: Subject, effect: float, again: Callable[[Subject], float], floor: float) -> bool:
    """Whether an effect is there however often it is measured: randomness that strikes now and then is not.

    A subject in which one effect was the same to the last bit needs no such check again.
    """
    if not subject.steady:
        effects = [again(subject) for _ in range(CALLS)]
        subject.steady = set(effects) == {effect}
        return min(effects) > floor
    return True


def _finite(effect: float) -> float:
    return effect if math.isfinite(effect) else 0.0
