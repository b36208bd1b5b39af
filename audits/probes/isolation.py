"""Isolation: one row of the batch must not depend on another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from audits.instruments.differences import judge_calls, judge_other_rows
from audits.instruments.noise_floor import comparable, max_abs_diff, noise_of, rows_draw_apart, scale_of
from audits.instruments.probe import Probe, Report, failed_control, not_applicable, undetermined
from audits.results import Site, Verdict
from audits.subject.randomness import generator
from audits.subject.subject import Subject

HALVES = 5  # times a half of the rows is replaced, then the other half, at least; our choice
REPLACED = 8  # rows among which that is done; a batch of more is compared with smaller ones alone; our choice


def run(subject: Subject) -> Report:
    """Half of the rows replaced while the others stay; then every row against itself in a smaller batch.

    The halves are chosen by the digits of the rows' numbers, so that for any two rows each is once replaced while the
    other stays. Positive control: the replaced rows' own outputs must change.
    """
    base = subject.base(subject.rows(subject.run(subject.base())))
    if len(base) < 2:
        return not_applicable("one row at a time: the batch was set to 1, or the model takes no more")
    before = subject.run(base)
    if not comparable(before):
        return undetermined("the outputs hold NaN or infinite numbers")
    few = REPLACED // 2 if subject.is_dear else REPLACED
    return _replaced(subject, base[:few]) or _judge_smaller(subject, base, before)


def _replaced(subject: Subject, base: Tensor) -> Report | None:
    """The report on replacing rows; None where no row depends on the others."""
    before, reacted, worst, effect = subject.run(base), False, None, 0.0
    for changed, replaced in _trials(subject, base):
        differences = max_abs_diff(before, subject.run(changed)).amax(1).cpu()
        reacted |= bool(differences[replaced].any())
        others = differences.masked_fill(replaced, 0.0)
        if float(others.max()) > effect:
            worst, effect = (changed, int(others.argmax())), float(others.max())
    if not reacted:
        return failed_control("replacing rows changed no output, not even their own")
    return worst and _judge_replaced(subject, base, *worst)


def _trials(subject: Subject, base: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches with half of their rows replaced, and which ones those are [R]."""
    gen = generator(subject.settings.seed, "isolation")
    row, digits = torch.arange(len(base)), (len(base) - 1).bit_length()
    for draw in range(max(1 if subject.is_dear else HALVES, digits)):
        fresh = subject.draw(len(base), base.shape[1], gen)
        fresh = fresh * 10.0 ** (draw % 3) if subject.settings.input == "features" else fresh
        for digit in (0, 1):
            replaced = row // 2 ** (draw % digits) % 2 == digit
            yield torch.where(replaced.view(-1, *[1] * (base.ndim - 1)), fresh, base), replaced


def _judge_replaced(subject: Subject, base: Tensor, changed: Tensor, row: int) -> Report | None:
    """The report on replacing rows; None where a row that stayed does not depend on them."""
    one, _, after = (subject.run(given) for given in (base, changed, base))
    # State outside the model may look like an effect of other rows.
    noise = max(noise_of(subject), 4 * float(max_abs_diff(one, after).max()))
    judged = judge_other_rows(subject, base, changed, row, noise)
    if judged.verdict is Verdict.PASS:
        return None
    found = judged.violation
    why = f"replacing row {found.source.row} changes row {row} by {found.effect:.3g}"
    return judged.report(why, f"other rows changed a row by {found.effect:.1e}, perhaps by rounding alone")


def _judge_smaller(subject: Subject, base: Tensor, before: Tensor) -> Report:
    """A row's outputs must not depend on how many rows there are, nor on its place among them.

    Rows are compared alone, in two, in four and so on, which gives each another place in a smaller batch; where rows
    draw random numbers, the first one alone.
    """
    pieces = [slice(2**i - 1, min(2 ** (i + 1) - 1, len(base))) for i in range(len(base).bit_length())]
    pieces = pieces[:1] if rows_draw_apart(subject) else pieces
    differences = {piece.start: max_abs_diff(before[piece], subject.run(base[piece])).cpu() for piece in pieces}
    first = max(differences, key=lambda start: float(differences[start].max()))
    piece, found = slice(first, first + len(differences[first])), differences[first]

    def measure(other: Subject) -> Tensor:
        return max_abs_diff(other.run(base)[piece], other.run(base[piece]))

    source = Site(None, 0 if first else 1)
    judged = judge_calls(subject, measure, found, scale=scale_of(before), source=source, first=Site(0, first))
    row, effect = judged.violation.sink.row, judged.violation.effect
    return judged.report(
        f"row {row} differs by {effect:.3g} in a batch of {len(found)} and of {len(base)}",
        f"no row of {len(base)} depends on another, or on how many there are",
    )


PROBE = Probe(
    "isolation",
    "rows that depend on other rows of the batch",
    order=3,
    run=run,
    forwards=lambda subject: 2 * HALVES + subject.settings.batch.bit_length() + 5,
    blind_to="everything that happens within a row.",
)
