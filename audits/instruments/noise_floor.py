"""Distinguishes a leak from rounding: a leak does not depend on the precision of the computation, rounding does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from audits.results import Verdict
from audits.subject.dropout import draws
from audits.subject.fewer_bits import FewerBits
from audits.subject.randomness import generator
from audits.subject.subject import Subject, own_dtype

# Rounding shrinks by 2^-29 from float32 to float64. Two rounding errors of one computation differ by chance, so 2^9 of
# that is the margin; an effect that shrinks by less than 2^-20 is not ordinary rounding.
SHRINKAGE = 2.0**-20
# Rounding errors of a few dozen operations, in units of eps times the output: smaller effects cannot be distinguished.
ROUNDINGS = 64.0
CALLS = 8  # in which the noise of a subject that is not deterministic is measured; our choice
# Grids that a small effect is measured on: bits fewer, and the offset at which values are rounded up; our choice.
GRIDS = ((1, 0.5), (5, 0.75), (3, 0.25), (6, 0.5), (2, 0.75), (4, 0.875), (5, 0.375), (3, 0.625))
LARGEST_ROUNDING = 2.0**-11  # of the output: the square root of float32's; a larger effect is never rounding
MOST_ROUNDING = 16  # one in so many of the output, and no more, passes as rounding that no finer copy shows; our choice
FAR = 64.0  # times the typical size of outputs: beyond, an element counts relative to its own size; our choice
BY_CHANCE = 8.0  # times as large the rounding of one row may be among other rows as alone; our choice
SAMPLE = 256  # elements that show the typical size
DRAWS = "draws randomly"  # by what name a subject knows it, once it has been tried
AT_ONCE = 2**24  # elements of outputs that are compared at once


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

    An element `FAR` above the typical size (a token forbidden by -1e9) counts relative to its own size, so that neither
    its difference nor its rounding hides the others'. Not-a-number against not-a-number counts as equal, against a
    number as an infinite difference.
    """
    most, rows = far(a), max(1, AT_ONCE // max(1, a[:1].numel()))
    parts = zip(a.detach().split(rows), b.detach().split(rows), strict=True)
    return torch.cat([_differences(one, two, most) for one, two in parts])


def _differences(a: Tensor, b: Tensor, most: float) -> Tensor:
    """The same of a few rows, given the size beyond which an element counts relative to its own."""
    # Half precision is exact in float32, whose differences are exact enough and take half as long.
    narrow = a.dtype == b.dtype and a.dtype in (torch.float32, torch.float16, torch.bfloat16)
    a, b = (a.float(), b.float()) if narrow else (a.double(), b.double())
    difference = (a - b).abs()
    if all(bool(-most <= low and high <= most) for low, high in (a.aminmax(), b.aminmax())):
        return difference.amax(-1).double()
    a, b, difference = a.double(), b.double(), difference.double()
    difference = difference * (most / torch.maximum(a.abs(), b.abs())).clamp(max=1)
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, difference)
    return difference.masked_fill(difference.isnan(), float("inf")).amax(-1)


def far(outputs: Tensor) -> float:
    """`FAR` times the typical size of outputs [R, N, F]: the lower quartile of distinct sizes in the first row.

    Of distinct ones, because constants, fill values and zeros may be most of them, and the lower quartile, because a
    mask may be added to most. Infinite where all are zero.
    """
    row = outputs[0].flatten()
    if len(row) > SAMPLE:  # a stride of the golden ratio falls in step with no axis
        row = row[torch.arange(SAMPLE, device=row.device) * int(0.618034 * len(row)) % len(row)]
    sizes = row.double().abs().unique()
    sizes = sizes[sizes.isfinite() & (sizes > 0)]
    return FAR * float(sizes[len(sizes) // 4]) if len(sizes) else math.inf


def scale_of(outputs: Tensor) -> float:
    """The largest finite absolute output that is not far above the typical size: rounding is relative to it."""
    return min(far(outputs), float(outputs.double().nan_to_num(nan=0, posinf=0, neginf=0).abs().max()))


def noise_of(subject: Subject) -> float:
    """How far calls on equal input differ when others come between: 0 for every deterministic subject.

    Else four times the largest difference among a few; a smaller leak cannot be distinguished from chance (our choice).
    """
    if subject.noise is None:
        short, gen = subject.shorter(), generator(subject.settings.seed, "noise")
        base = short.base()
        first, subject.noise = short.run(base), 0.0
        for _ in range(CALLS):
            short.run(short.draw(1, base.shape[1], gen))
            subject.noise = max(subject.noise, 4 * float(max_abs_diff(first, short.run(base)).max()))
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
    in_float64 = subject.compute_dtype == torch.float64
    if effect <= noise or (in_float64 and effect <= finest):
        return SignificanceDecision(Verdict.PASS, noise if effect <= noise else finest)
    coarsest = max(noise, rounding(subject, scale))
    exact, found, floor = subject if in_float64 else subject.float64_reference, effect, coarsest
    if exact is not None:
        found = effect if in_float64 else measure(exact)
        single = measure(subject.float32_copy) if subject.float32_copy is not None else 0.0 if in_float64 else effect
        floor = max(finest, _finite(single) * SHRINKAGE)
        if not in_float64 and found <= floor:  # gone in float64: rounding, unless larger than rounding can be
            # Equal shapes round nearly alike; on the same path no branch on the dtype can hide the effect in float64.
            other_path = same_shape and not exact.same_path
            doubtful = other_path and effect > max(noise, coarsest / 8)
            return SignificanceDecision(Verdict.UNDETERMINED if doubtful else Verdict.PASS, max(coarsest, finest))
    elif effect <= floor and (same_shape or effect > scale / MOST_ROUNDING):
        return SignificanceDecision(Verdict.UNDETERMINED, floor)
    if found > floor and not noise and not _is_reproduced(subject, effect, measure, floor):
        subject.noise = 4 * effect
        return SignificanceDecision(Verdict.PASS, subject.noise)
    if found > floor and not same_shape and draws_randomly(subject):
        return SignificanceDecision(Verdict.UNDETERMINED, floor)
    if floor < found <= LARGEST_ROUNDING * scale:
        floor = max(floor, _movement(exact or subject, found, measure))
    if found > floor:
        return SignificanceDecision(Verdict.LEAK, floor)
    # What the copy in float64 explains, rounding explains.
    return SignificanceDecision(Verdict.PASS, max(floor, effect))


def _movement(subject: Subject, effect: float, measure: Callable[[Subject], float]) -> float:
    """Four times how far an effect moves when arithmetic has fewer bits: a leak hardly moves, rounding far."""
    origin, moved = own_dtype(subject.original), 0.0
    for fewer, offset in GRIDS:
        if moved < effect:
            with subject.under(partial(FewerBits, fewer, offset, origin)):
                moved = max(moved, 4 * abs(measure(subject) - effect))
    return moved


def draws_randomly(subject: Subject) -> bool:
    """Whether the outputs in evaluation mode depend on the seed of the global generators."""

    def differ() -> bool:
        short, seed = subject.shorter(), subject.settings.seed
        one, two = (short.run(short.base(), seed=each) for each in (seed, seed + 1))
        return bool(max_abs_diff(one, two).max() > 0)

    return subject.once(DRAWS, differ)


def rows_draw_apart(subject: Subject) -> bool:
    """Whether a call draws random numbers, its own generators' too: at another shape, rows after the first get others.

    Fused attention counts among the operations that draw even where it drops nothing.
    """
    drawn = draws(partial(subject.run, subject.base()))
    return any(not name.startswith("_scaled_dot_product") for name, _ in drawn)


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
