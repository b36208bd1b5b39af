"""Decode: where the model can stream, token by token must equal all at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from torch import Tensor

from audits.formatting import error_text
from audits.instruments.differences import judge_calls
from audits.instruments.noise_floor import comparable, max_abs_diff, noise_of, rounding, scale_of
from audits.instruments.probe import Probe, Report, failed_control, not_applicable, undetermined
from audits.instruments.streamed import Streamed, streamed
from audits.results import Verdict
from audits.subject.decoding import Decoding, decoding
from audits.subject.padding import UNAMBIGUOUS, Padding, candidates, padded
from audits.subject.padding import told as padding_told
from audits.subject.settings import SubjectError
from audits.subject.streaming import CACHES, OTHERS, Step, is_guess, own_stream, streaming, told
from audits.subject.subject import Subject

GUESSES = 3  # tokens that are guessed and taken back, as in speculative decoding; our choice
STEPS = 16  # tokens that are decoded one by one after a prefill; our choice
PIECES = 4  # before each of which that is done
SHARE = 3  # one position in so many is padding; our choice


def run(subject: Subject) -> Report:
    """Prefill and decode in several piece sizes, after guesses that are taken back, and padded, against one pass.

    Streams through a method `stream(piece, state=None) -> (outputs, state)`, or through the `past_key_values`,
    `cache_params` or `state` of Hugging Face and fla. Positive control: the streamed outputs of another input must
    differ. Under a contract an output that is returned before it is due counts as no leak, however it differs.
    """
    try:
        decoded = decoding(subject)
    except SubjectError as problem:
        return (undetermined if told(subject) else not_applicable)(f"under this contract, {problem}")
    guess = is_guess(decoded.subject) or not (told(subject) or own_stream(decoded.subject) or _is_plain(subject))
    subject, step = decoded.subject, streaming(decoded.subject)
    if step is None:
        return not_applicable(f"the model offers no stream(piece, state) and none of {', '.join((*CACHES, *OTHERS))}")
    base = subject.base()
    whole = subject.run(base)
    plans = _plans(decoded)
    found: dict[str, Streamed] = {}
    refused: dict[str, Exception] = {}
    for name, sizes in plans.items():
        try:
            found[name] = streamed(decoded, step, base, sizes, whole)
        except Exception as problem:
            refused[name] = problem
    first = next(iter(refused.values()), None)
    raised = f"raised {error_text(first)}" if first else ""
    if not found:
        # Who takes a cache need not return one; who has a method `stream` offers it, unless it is a stub.
        excuses = NotImplementedError if own_stream(subject) else (NotImplementedError, SubjectError)
        excused = not told(subject) and (guess or isinstance(first, excuses))
        return (not_applicable if excused else undetermined)(f"streaming {raised}")
    other, differences = subject.base(2)[1:], {name: each.due for name, each in found.items()}
    if not streamed(decoded, step, other, plans[next(iter(found))], whole).differs:
        return failed_control("another input streams to the same output")
    report = _judge(decoded, step, base, whole, differences)
    understood = any(_continues(subject, whole, differences[name], plans[name]) for name in differences)
    if guess and not (understood and (report.verdict is Verdict.LEAK or not refused)):
        return not_applicable("its cache is not continued piece by piece: give it a method stream(piece, state)")
    if report.verdict is Verdict.PASS and (early := _early(decoded, whole, found)):
        return (not_applicable if guess else undetermined)(early)
    if report.verdict is Verdict.PASS and not refused:
        report = _guessed(decoded, step, base, whole, report)
    if report.verdict is Verdict.PASS and not refused:
        report = _padded(decoded, base, report)
    if not refused:
        return report
    verdict = Verdict.LEAK if report.verdict is Verdict.LEAK else Verdict.UNDETERMINED
    return replace(report, verdict=verdict, why=f"{report.why}; decoding {', '.join(refused)} {raised}")


def _is_plain(subject: Subject) -> bool:
    return subject.plan is None or subject.plan.is_plain


def _early(decoded: Decoding, whole: Tensor, found: dict[str, Streamed]) -> str:
    """Why nothing can be said of outputs that differ and were returned before they are due; empty where none did."""
    name = max(found, key=lambda key: float(found[key].early.max()))
    early = found[name].early
    if float(early.max()) <= max(noise_of(decoded.subject), rounding(decoded.subject, scale_of(whole))):
        return ""
    position = int(early.argmax())
    output = decoded.subject.plan.output_at(decoded.length, position)
    return (
        f"decoding {name}, output {output} is returned before all that it may depend on was fed, and differs from one "
        "pass: give a Stream that returns outputs when they are due"
    )


def _guessed(decoded: Decoding, step: Step, base: Tensor, whole: Tensor, report: Report) -> Report:
    """A pass, unless what was guessed and taken back, as in speculative decoding, changes what follows."""
    subject, sizes = decoded.subject, decoded.pieces(_guess_sizes(base.shape[1]))

    def measure(other: Subject) -> Tensor:
        return streamed(replace(decoded, subject=other), step, base, sizes, guesses=GUESSES).due

    try:
        found = measure(subject)
    except Exception as problem:  # a cache may be one that cannot be taken back
        return replace(report, why=f"{report.why}; not with guesses taken back: {error_text(problem)}")
    judged = judge_calls(subject, measure, found, scale=scale_of(whole), noise=noise_of(subject))
    judged = judged.having(seen_in=_seen_in(subject))
    return judged.report(
        f"after {GUESSES} guesses taken back, decoding differs at {subject.output_at(judged.violation.sink.position)} "
        f"by {judged.violation.effect:.3g} from one pass",
        f"{report.why}; also with {GUESSES} guesses taken back before each piece",
    )


def _padded(decoded: Decoding, base: Tensor, report: Report) -> Report:
    """A pass, unless a row that is padded at the left is continued otherwise than one pass computes it."""
    subject, length = decoded.subject, base.shape[1]
    padding = _left_padding(subject, base)
    if padding is None:
        return report
    sizes, outputs = _prefilled(length - length // 2, length), padded(subject, padding).run(base)

    def measure(other: Subject) -> Tensor:
        masked = padded(other, padding)
        step = streaming(masked)
        assert step is not None
        return streamed(replace(decoded, subject=masked), step, base, sizes).due

    try:
        found = measure(subject)
    except Exception as problem:  # its cache may take the mask of a piece alone
        return replace(report, why=f"{report.why}; not {padding}: {error_text(problem)}")
    judged = judge_calls(subject, measure, found, scale=scale_of(outputs), noise=noise_of(subject))
    judged = judged.having(seen_in=padded(subject, padding))
    violation = judged.violation
    alone = max_abs_diff(subject.run(base[:, padding.left :]), outputs[:, padding.left :])
    unpadded = "without padding" if float(alone.max()) <= rounding(subject, scale_of(outputs)) else "in one pass"
    return judged.report(
        f"given {padding.name} with {padding}, decoding differs at {subject.output_at(judged.violation.sink.position)} "
        f"by {violation.effect:.3g} from the same row {unpadded}",
        f"{report.why}; also {padding}, as {unpadded}",
    )


def _left_padding(subject: Subject, base: Tensor) -> Padding | None:
    """A mask that a model that takes a cache may be given in every call, and takes in one pass; None without one."""
    named = (*padding_told(subject), *(name for name in UNAMBIGUOUS if name.endswith("attention_mask")))
    name = next((name for name in named if name in subject.convention.keywords), None)
    if name is None or own_stream(subject):
        return None
    count, positions = max(1, base.shape[1] // SHARE), "position_ids" in subject.convention.keywords
    for padding in candidates(name, told=True):
        left = replace(padding, left=count, positions=positions)
        with suppress(Exception):
            if comparable(padded(subject, left).run(base)):
                return left
    return None


def _guess_sizes(length: int) -> list[int]:
    """The half of a sequence, then a few pieces."""
    borders = sorted({0, *(length // 2 + n * (length - length // 2) // PIECES for n in range(PIECES + 1))})
    return [stop - start for start, stop in pairwise(borders)]


def _continues(subject: Subject, whole: Tensor, differences: Tensor, sizes: list[int]) -> bool:
    """Whether the second of some pieces equals one pass, so that the cache was understood."""
    second = differences[sizes[0] : sum(sizes[:2])]
    return float(second.max()) <= rounding(subject, scale_of(whole))


def _judge(decoded: Decoding, step: Step, base: Tensor, whole: Tensor, differences: dict[str, Tensor]) -> Report:
    name = max(differences, key=lambda key: float(differences[key].max()))
    subject, sizes = decoded.subject, _plans(decoded)[name]

    def measure(other: Subject) -> Tensor:
        return streamed(replace(decoded, subject=other), step, base, sizes).due

    # Measured around the streams again: what drifts with time is no effect of streaming.
    noise = max(noise_of(subject), 4 * float(max_abs_diff(whole, subject.run(base)).max()))
    judged = judge_calls(subject, measure, differences[name], scale=scale_of(whole), noise=noise)
    judged = judged.having(seen_in=_seen_in(subject))
    found = judged.violation
    return judged.report(
        f"decoding {name} differs at {subject.output_at(found.sink.position)} by {found.effect:.3g} from one pass",
        f"decoding {', '.join(differences)} equals one pass (floor {found.noise_floor:.1e})",
    )


def _seen_in(subject: Subject) -> Subject | None:
    """The subject, where its positions are others than the audit's."""
    return None if _is_plain(subject) else subject


def _plans(decoded: Decoding) -> dict[str, list[int]]:
    """Piece sizes that add up to the length; where a call is dear, few pieces."""
    length = decoded.length
    uneven = [1, 2, 3, 5, 7, 11, 13] * length
    taken: list[int] = []
    left = length
    while left:
        taken.append(min(uneven[len(taken)], left))
        left -= taken[-1]
    half = max(1, length // 2)
    plans = {
        "token by token": [1] * length,
        "after a prefill of half": _prefilled(half, length),
        "in uneven pieces": taken,
    }
    if decoded.subject.is_dear and length > STEPS:
        plans = {f"{STEPS} tokens after a prefill": [length - STEPS, *[1] * STEPS], "in uneven pieces": taken}
    return {name: decoded.pieces(sizes) for name, sizes in plans.items()}


def _prefilled(first: int, length: int) -> list[int]:
    """A first piece, some tokens one by one, and the rest in one piece."""
    single = min(STEPS, length - first)
    rest = length - first - single
    return [first, *[1] * single, *([rest] if rest else [])]


def _forwards(subject: Subject) -> int:
    return 0 if streaming(decoding(subject).subject) is None else 12


PROBE = Probe(
    "decode",
    "streaming against one parallel pass",
    order=6,
    run=run,
    forwards=_forwards,
    blind_to="what one parallel pass does by itself: a model that streams as it runs in parallel passes, however it "
    "leaks. It has nothing to examine in a model that cannot stream.",
)
