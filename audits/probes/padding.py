"""Padding: given a padding mask, a model must stay causal, and must not depend on what stands in padding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from audits.instruments import changes
from audits.instruments.differences import Comparison, judge, judge_calls, judge_latest
from audits.instruments.noise_floor import comparable, max_abs_diff, rounding, scale_of
from audits.instruments.probe import Pair, Probe, Report, not_applicable
from audits.results import Site, Verdict
from audits.subject.padding import ARGUMENTS, UNAMBIGUOUS, Padding, candidates, padded, told
from audits.subject.randomness import generator
from audits.subject.subject import Subject

ROWS = 16  # changed sequences with each mask; our choice
SHARE = 3  # one position in so many is padding; our choice


def run(subject: Subject) -> Report:
    """A mask that marks no padding; then one that marks it at the right, and one at the left.

    What the mask marks is read from the model: with no padding marked it must do as no mask does, or else hide what it
    marks. Where that decides nothing, a leak counts only if it occurs with either meaning. Outputs at padding are never
    compared. Positive control: outputs from the cut on must react.
    """
    name = _argument(subject)
    if name is None:
        return not_applicable("no argument of the model takes a padding mask")
    plain, understood = _two_rows(subject), _understood(subject, name)
    known = [padding for padding, outputs in understood.items() if _equal(subject, plain, outputs)]
    if len(known) == 2 or not understood:
        return not_applicable(f"{name} is {'not used' if known else 'refused'} as a padding mask [B, N]")
    if not known and _is_attention_mask(subject, name, plain):
        return not_applicable(f"{name} says who attends to whom, not what is padding")
    known = known or [padding for padding in understood if _hides(subject, padding)]
    if len(known) == 1:
        return _report(subject, known[0])
    reports = [_causal(subject, padding) for padding in understood]
    if all(report.verdict is Verdict.LEAK for report in reports):
        return reports[0]
    return not_applicable(f"what {name} marks cannot be told from what it does")


def _argument(subject: Subject) -> str | None:
    return next((name for name in (*told(subject), *ARGUMENTS) if name in subject.convention.keywords), None)


def _two_rows(subject: Subject) -> Tensor:
    """Outputs of two rows where the model takes them: some apply a padding mask only then."""
    return subject.run(subject.base(min(2, subject.settings.batch)))


def _understood(subject: Subject, name: str) -> dict[Padding, Tensor]:
    """The outputs with each meaning of a mask without padding, in the first dtype that the model takes."""
    found: dict[Padding, Tensor] = {}
    for padding in candidates(name, told=name in told(subject)):
        if padding.real not in {known.real for known in found}:
            with suppress(Exception):
                outputs = _two_rows(padded(subject, padding))
                found |= {padding: outputs} if comparable(outputs) else {}
    return found


def _equal(subject: Subject, one: Tensor, other: Tensor) -> bool:
    return float(max_abs_diff(one, other).max()) <= rounding(subject, scale_of(one))


def _is_attention_mask(subject: Subject, name: str, plain: Tensor) -> bool:
    """Whether a causal mask [N, N], [B, N, N] or [B, 1, N, N] does as none does, so that such a one is expected."""
    rows, length = plain.shape[:2]
    causal = torch.ones(length, length, dtype=torch.bool, device=plain.device).tril()
    hidden = torch.zeros_like(causal, dtype=plain.dtype).masked_fill(~causal, float("-inf"))
    shapes = ((), (rows,), (rows, 1))
    return any(
        _does_nothing(subject, name, mask.expand(*shape, length, length), plain)
        for mask in (causal, ~causal, hidden)
        for shape in shapes
    )


def _does_nothing(subject: Subject, name: str, mask: Tensor, plain: Tensor) -> bool:
    try:
        outputs = subject.run(subject.base(len(plain)), extra_kwargs=lambda inputs, dtype: {name: mask})  # noqa: ARG005
    except Exception:
        return False
    return _equal(subject, plain, outputs)


def _hides(subject: Subject, none: Padding) -> bool:
    """Whether what is marked as padding at the left, with this meaning, changes nothing after it."""
    left = replace(none, left=_count(subject))
    try:
        return not float(_other_content(subject, left)[1].max())
    except Exception:
        return False


def _other_content(subject: Subject, left: Padding) -> tuple[Tensor, Tensor]:
    """Inputs [R, N, ...] that differ from the base in what stands in padding, and how far real outputs [R, S] do."""
    base = subject.base()
    fresh = subject.draw(_rows(subject) // 2, base.shape[1], generator(subject.settings.seed, "padding"))
    changed = changes.mix((torch.arange(base.shape[1]) < left.left)[None], fresh, base)
    return changed, Comparison(padded(subject, left), base).differences(changed)[:, left.left :]


def _rows(subject: Subject) -> int:
    return ROWS // 4 if subject.is_dear else ROWS


def _count(subject: Subject) -> int:
    return max(1, subject.settings.seq_len // SHARE)


def _report(subject: Subject, none: Padding) -> Report:
    """All masks with a known meaning; one under which the model gives no numbers is skipped, and named."""
    reports = []
    for report in _checks(subject, none):
        if report.verdict is Verdict.LEAK:
            return report
        reports.append(report)
    undecided = [report for report in reports if report.applicable and report.verdict is Verdict.UNDETERMINED]
    why = "; ".join(report.why.removeprefix("not applicable: ") for report in reports)
    return undecided[0] if undecided else Report(Verdict.PASS, f"{none.name}: {why}")


def _checks(subject: Subject, none: Padding) -> Iterator[Report]:
    """What is to be seen with no padding, with padding at the right, and at the left."""
    right, left = replace(none, right=_count(subject)), replace(none, left=_count(subject))
    several = []
    for padding in (none, right, left):
        try:
            finite = _finite(subject, padding)
        except Exception as problem:  # out of time is none
            yield not_applicable(f"skipped with {padding}: the model raised {type(problem).__name__}")
            continue
        if finite is None:
            yield not_applicable(f"skipped with {padding}: the outputs are not finite")
            continue
        several += [padding] if finite is subject else []
        yield _causal(finite, padding)
        if padding is right:
            yield _as_unpadded(finite, none, right)
        elif padding is left:
            yield _hidden(finite, none, left)
    if 1 < len(several) <= subject.settings.batch:
        yield _apart(subject, several)


def _finite(subject: Subject, padding: Padding) -> Subject | None:
    """The subject, or its float32 copy, whose real outputs are finite: masks of float64 may overflow in float32."""
    for each in (subject, subject.float32_copy):
        if each is not None and comparable(padded(each, padding).run(subject.base())):
            return each
    return None


def _causal(subject: Subject, padding: Padding) -> Report:
    """Whether real outputs before a change differ, given a mask."""
    comparison = Comparison(padded(subject, padding), subject.base())
    plan = changes.some(subject, comparison.base, generator(subject.settings.seed, "padding"), _rows(subject))
    effects = comparison.measure(plan)
    if not float(effects.future.max()):
        return not_applicable(f"skipped with {padding}: no change of the input changed any output")
    judged, why = comparison.leak_or_doubt(plan, effects), f"causal with {padding}"
    if judged is None:
        return Report(Verdict.PASS, why)
    judged = judged.having(seen_in=comparison.subject)
    doubt = f"with {padding} outputs before the change differed, perhaps by rounding alone"
    return judged.report(f"given {padding.name} with {padding}, {judged.violation.described(subject)}", why, doubt)


def _as_unpadded(subject: Subject, none: Padding, right: Padding) -> Report:
    """Whether real outputs depend on whether the positions after them are padding."""
    real = subject.settings.seq_len - right.right

    def differences(other: Subject) -> Tensor:
        one, two = (padded(other, padding).run(other.base()) for padding in (none, right))
        return max_abs_diff(one, two)[0, :real]

    scale = scale_of(padded(subject, right).run(subject.base()))
    judged = judge_calls(subject, differences, scale=scale, source=Site(real, 0))
    sink, effect = judged.violation.sink.position, judged.violation.effect
    why = f"{right} changes the output at {subject.output_at(sink)} by {effect:.3g}, by the mask alone"
    return judged.report(why, f"the same with {right}")


def _hidden(subject: Subject, none: Padding, left: Padding) -> Report:
    """Whether real outputs depend on what stands in padding before them, in a model that hides it from some of them."""
    base, count = subject.base(), left.left
    unmasked, outputs = (_two_rows(padded(subject, padding))[:, count:] for padding in (none, left))
    if _equal(subject, unmasked, outputs):
        return not_applicable("it hides no padding at the left from what follows")
    changed, effects = _other_content(subject, left)
    worst, effect = int(effects.amax(1).argmax()), float(effects.max())
    if not effect:
        return Report(Verdict.PASS, "no output depends on what stands in padding")
    if left.name not in (*told(subject), *UNAMBIGUOUS) and bool(effects.amax(0).all()):
        return not_applicable("it hides no padding at the left from what follows")
    pair = Pair(base, changed[worst : worst + 1], 0, extra_kwargs=left, compared=(count, base.shape[1]))
    judged = judge_latest(pair, count, partial(judge, subject))
    return judged.report(
        f"given {left.name} with {left}, {judged.violation.described(subject)}: it is padding",
        "no output depends on what stands in padding",
        f"what stands in padding changed outputs by {effect:.1e}, perhaps by rounding alone",
    )


def _apart(subject: Subject, paddings: list[Padding]) -> Report:
    """Whether a row depends on how the others are padded: each with its own padding, and all of them with that one."""
    base = subject.base(len(paddings))

    def each_its_own(inputs: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
        masks = [padding(row, dtype)[padding.name] for padding, row in zip(paddings, inputs.split(1), strict=True)]
        return {paddings[0].name: torch.cat(masks)}

    def differences(other: Subject) -> Tensor:
        mixed = other.run(base, extra_kwargs=each_its_own)
        alike = [max_abs_diff(mixed, other.run(base, extra_kwargs=p)).where(p.is_real(base), 0.0) for p in paddings]
        return torch.stack([rows[row] for row, rows in enumerate(alike)])

    judged = judge_calls(subject, differences, scale=scale_of(padded(subject, paddings[0]).run(base)))
    row = judged.violation.sink.row
    judged = judged.having(source=Site(None, int(row == 0)))
    why = f"how other rows are padded changes row {row} by {judged.violation.effect:.3g}"
    return judged.report(why, "the same in a batch of differently padded rows")


PROBE = Probe(
    "padding",
    "the same given a padding mask, and what padding changes",
    order=9,
    run=run,
    forwards=lambda subject: 0 if _argument(subject) is None else 30,
    blind_to="everything in a model that takes no padding mask, or one whose meaning cannot be told; padding in the "
    "middle, training mode, and choices so rare that random changes do not flip them.",
)
