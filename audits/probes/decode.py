"""Decode: where the model can stream, token by token must equal all at once."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from audits.formatting import error_text
from audits.instruments.differences import judge_calls
from audits.instruments.noise_floor import max_abs_diff, noise_of, rounding, scale_of
from audits.instruments.probe import Probe, Report, failed_control, not_applicable, undetermined
from audits.results import Verdict
from audits.subject.outputs import MAIN, as_sequence
from audits.subject.randomness import generator
from audits.subject.settings import SubjectError
from audits.subject.streaming import CACHES, OTHERS, Step, is_guess, own_stream, streaming, told
from audits.subject.subject import Subject

GUESSES = 3  # tokens that are guessed and taken back, as in speculative decoding; our choice
STEPS = 16  # tokens that are decoded one by one where a call is dear; our choice
PIECES = 4  # before each of which that is done


def run(subject: Subject) -> Report:
    """Prefill and decode in several piece sizes, and after guesses that are taken back, against one parallel pass.

    Streams through a method `stream(piece, state=None) -> (outputs, state)`, or through the `past_key_values`,
    `cache_params` or `state` of Hugging Face and fla. Positive control: the streamed outputs of another input must
    differ.
    """
    if told(subject) and not subject.plan.is_plain:
        return undetermined(
            "under this contract a piece of the input has no outputs of its own: decode without its clocks"
        )
    step = streaming(subject)
    if step is None:
        return not_applicable(f"the model offers no stream(piece, state) and none of {', '.join((*CACHES, *OTHERS))}")
    subject = subject.variant(outputs=(MAIN,))  # a stream may return that one alone
    base = subject.base()
    whole = subject.run(base)
    plans = _plans(subject, base.shape[1])
    differences, refused = {}, {}
    for name, sizes in plans.items():
        try:
            differences[name] = max_abs_diff(_stream(subject, step, base, sizes), whole)[0].cpu()
        except Exception as problem:
            refused[name] = problem
    first = next(iter(refused.values()), None)
    raised = f"raised {error_text(first)}" if first else ""
    if not differences:
        # Who takes a cache need not return one; who has a method `stream` offers it, unless it is a stub.
        excuses = NotImplementedError if own_stream(subject) else (NotImplementedError, SubjectError)
        excused = not told(subject) and (is_guess(subject) or isinstance(first, excuses))
        return (not_applicable if excused else undetermined)(f"streaming {raised}")
    other = subject.base(2)[1:]
    if not float(max_abs_diff(_stream(subject, step, other, plans[next(iter(differences))]), whole).max()):
        return failed_control("another input streams to the same output")
    report = _judge(subject, step, base, whole, differences)
    understood = any(_continues(subject, whole, differences[name], plans[name]) for name in differences)
    if is_guess(subject) and not (understood and (report.verdict is Verdict.LEAK or not refused)):
        return not_applicable("its cache is not continued piece by piece: give it a method stream(piece, state)")
    report = report if report.verdict is Verdict.LEAK or refused else _guessed(subject, step, base, whole, report)
    if not refused:
        return report
    verdict = Verdict.LEAK if report.verdict is Verdict.LEAK else Verdict.UNDETERMINED
    return replace(report, verdict=verdict, why=f"{report.why}; decoding {', '.join(refused)} {raised}")


def _guessed(subject: Subject, step: Step, base: Tensor, whole: Tensor, report: Report) -> Report:
    """A pass, unless what was guessed and taken back, as in speculative decoding, changes what follows."""

    def measure(other: Subject) -> Tensor:
        return max_abs_diff(_stream(other, step, base, _guess_sizes(base.shape[1]), guesses=GUESSES), other.run(base))

    try:
        found = measure(subject)
    except Exception as problem:  # a cache may be one that cannot be taken back
        return replace(report, why=f"{report.why}; not with guesses taken back: {error_text(problem)}")
    judged = judge_calls(subject, measure, found, scale=scale_of(whole), noise=noise_of(subject))
    sink = judged.violation.sink
    return judged.report(
        f"after {GUESSES} guesses taken back, decoding differs at position {sink.position} "
        f"by {judged.violation.effect:.3g} from one pass",
        f"{report.why}; also with {GUESSES} guesses taken back before each piece",
    )


def _guess_sizes(length: int) -> list[int]:
    """The half of a sequence, then a few pieces."""
    borders = sorted({0, *(length // 2 + n * (length - length // 2) // PIECES for n in range(PIECES + 1))})
    return [stop - start for start, stop in pairwise(borders)]


def _continues(subject: Subject, whole: Tensor, differences: Tensor, sizes: list[int]) -> bool:
    """Whether the second of some pieces equals one pass, so that the cache was understood."""
    second = differences[sizes[0] : sum(sizes[:2])]
    return float(second.max()) <= rounding(subject, scale_of(whole))


def _judge(subject: Subject, step: Step, base: Tensor, whole: Tensor, differences: dict[str, Tensor]) -> Report:
    name = max(differences, key=lambda key: float(differences[key].max()))
    sizes = _plans(subject, base.shape[1])[name]

    def measure(other: Subject) -> Tensor:
        return max_abs_diff(_stream(other, step, base, sizes), other.run(base))

    # Measured around the streams again: what drifts with time is no effect of streaming.
    noise = max(noise_of(subject), 4 * float(max_abs_diff(whole, subject.run(base)).max()))
    judged = judge_calls(subject, measure, differences[name], scale=scale_of(whole), noise=noise)
    found = judged.violation
    return judged.report(
        f"decoding {name} differs at position {found.sink.position} by {found.effect:.3g} from one pass",
        f"decoding {', '.join(differences)} equals one pass (floor {found.noise_floor:.1e})",
    )


def _plans(subject: Subject, length: int) -> dict[str, list[int]]:
    """Piece sizes that add up to the length; where a call is dear, few pieces."""
    uneven = [1, 2, 3, 5, 7, 11, 13] * length
    taken: list[int] = []
    left = length
    while left:
        taken.append(min(uneven[len(taken)], left))
        left -= taken[-1]
    if subject.is_dear and length > STEPS:
        return {f"{STEPS} tokens after a prefill": [length - STEPS, *[1] * STEPS], "in uneven pieces": taken}
    half = max(1, length // 2)
    return {
        "token by token": [1] * length,
        "after a prefill of half": [half, *[1] * (length - half)],
        "in uneven pieces": taken,
    }


def _stream(subject: Subject, step: Step, inputs: Tensor, sizes: list[int], guesses: int = 0) -> Tensor:
    """Outputs of all pieces together, [B, N, F]; before each but the first so many guesses are tried and taken back."""
    wrong = subject.draw(len(inputs), guesses, generator(subject.settings.seed, "guesses")) if guesses else None

    def whole(model: Any, given: Tensor) -> Tensor:
        state, parts, past = None, [], 0
        for piece in given.split(sizes, dim=1):
            if wrong is not None and past:
                state = _taken_back(step, model, wrong.to(given), state, past)
            output, state = step(model, piece, state, past)
            # Copies: a model may return, or keep, a buffer that its next call overwrites.
            parts.append(as_sequence(output, piece).clone())
            past += piece.shape[1]
        return torch.cat(parts, dim=1)

    return subject.call(whole, inputs)


def _taken_back(step: Step, model: Any, guess: Tensor, state: Any, past: int) -> Any:
    """The state after a guess that was rejected: cropped where a cache offers that, else the one before, copied."""
    crops = callable(getattr(state, "crop", None))
    before = state if crops else copy.deepcopy(state)
    _, after = step(model, guess, state, past)
    if crops:
        after.crop(-guess.shape[1])
    return after if crops else before


PROBE = Probe(
    "decode",
    "streaming against one parallel pass",
    order=6,
    run=run,
    forwards=lambda subject: 0 if streaming(subject) is None else 12,
    blind_to="what one parallel pass does by itself: a model that streams as it runs in parallel passes, however it "
    "leaks. It has nothing to examine in a model that cannot stream.",
)
