"""The place of what no pair of inputs shows: where the two calls part whose outputs a probe compared."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from audits.instruments.divergence import Divergence, Operation, OperationLog, Sizes, divergence
from audits.instruments.locate import Location
from audits.instruments.noise_floor import max_abs_diff
from audits.instruments.probe import Violation
from audits.instruments.tracing.attribution import attribute
from audits.instruments.tracing.taint_map import storage_key
from audits.results import CALLERS_INPUT
from audits.subject.budget import OutOfTime
from audits.subject.streaming import outputs_of_piece, pieces, streaming
from audits.subject.subject import ExtraKwargs, Subject

Parting = Iterator[Divergence | None]


def parted(subject: Subject, probe: str, violation: Violation) -> tuple[Violation, Location | None]:
    """The violation with operation, line and way where its calls part, and its module; as it was if none is found.

    A pair of inputs of which one row among several moves is followed in that row.
    """
    find = _way(probe, violation)
    if find is None:
        return violation, None
    try:
        found = next((found for found in find(subject, violation) if found is not None), None)
    except (Exception, OutOfTime):  # a leak without a place is still a leak
        found = None
    if found is None or found.frame is None:
        return violation, None
    file, line = found.frame.place
    located = replace(violation, op=found.op, file=file, line=line, trace=found.trace)
    return located, None if found.module is None else Location(found.module, file, line)


def _way(probe: str, violation: Violation) -> Callable[[Subject, Violation], Parting] | None:
    """How the place of a violation is found; None where another instrument finds it."""
    if violation.source.position is None and violation.source.row is not None:
        return _company
    if violation.pair is not None:
        return _followed if violation.pair.row else None
    return _WAYS.get(probe)


class _Logged(NamedTuple):
    """The outputs of a call, its operations, and the storage of its input."""

    outputs: Tensor
    operations: list[Operation]
    given: int


def _logged(
    subject: Subject, inputs: Tensor, extra_kwargs: ExtraKwargs | None = None, *, reset: bool = True
) -> _Logged:
    log, keys = OperationLog(subject), []

    def call(model: Any, given: Tensor) -> Any:
        keys.append(storage_key(given))
        more = extra_kwargs(given, subject.dtype or torch.float32) if extra_kwargs else None
        with log:
            return subject.convention(model, given, more)

    return _Logged(subject.call(call, inputs, reset=reset), log.operations, keys[0])


def _followed(subject: Subject, violation: Violation) -> Parting:
    """The token of one row, among others."""
    assert violation.pair is not None
    assert violation.sink.position is not None
    found = attribute(subject, violation.pair, violation.sink.position, follow_values=True)
    yield None if found is None else Divergence(found.op, found.frame, None, found.trace)


def _cut(subject: Subject, violation: Violation) -> Parting:
    """A whole sequence and a prefix: one of whole chunks if that differs too, so that chunks can be compared."""
    row = violation.sink.row or 0
    base = subject.base(row + 1)[row:]
    length = base.shape[1]
    whole, first, _ = _logged(subject, base)
    for part in ((length - 1) // 16 * 16, (length - 1) // 8 * 8, violation.source.position or 1):
        with contextlib.suppress(Exception):  # a length that it does not take
            cut, second, _ = _logged(subject, base[:, :part])
            if _differ(whole[:, :part], cut, violation):
                yield divergence(first, second, _first(length, part))


def _first(whole: int, part: int) -> Sizes:
    """The first positions of a whole, or its first chunks; of other numbers all but the last of the fewer."""

    def sizes(axes: tuple[int, int]) -> tuple[slice, slice, bool] | None:
        m, n = axes
        if n and part % n == 0 and m == -(-whole // (part // n)):
            return slice(n), slice(None), True
        return (slice(n - 1), slice(n - 1), False) if m > n > 1 else None

    return sizes


def _company(subject: Subject, violation: Violation) -> Parting:
    """A row in a batch, and alone."""
    rows, row = subject.base(subject.rows(subject.run(subject.base()))), violation.sink.row or 0

    def sizes(axes: tuple[int, int]) -> tuple[slice, slice, bool] | None:
        m, n = axes
        return (slice(row * n, (row + 1) * n), slice(None), True) if m == n * len(rows) else None

    batch, alone = _logged(subject, rows), _logged(subject, rows[row : row + 1])
    yield divergence(batch.operations, alone.operations, sizes)


def _again(subject: Subject, violation: Violation) -> Parting:
    """A call, and the same after others; or the operation that writes into what the caller gave."""
    if violation.changed == CALLERS_INPUT:
        yield _written(subject)
        return
    inputs, *others = violation.calls
    first = _logged(subject, inputs)
    for other in others:
        with contextlib.suppress(Exception):  # a length that it does not take
            subject.run(other, reset=False)
    yield divergence(first.operations, _logged(subject, inputs, reset=False).operations)


def _written(subject: Subject) -> Divergence | None:
    """The operation that writes into the input."""
    made = _logged(subject, subject.base())
    writes = (each for each in made.operations if not each.moves and made.given in dict(each.outputs))
    found = next(writes, None)
    return None if found is None else Divergence(found.name, found.frame, found.module, ())


def _packed(subject: Subject, violation: Violation) -> Parting:
    """A document among others, and alone."""
    assert violation.document is not None
    start, stop, kwargs = violation.document
    base = subject.base()
    parts = {(base.shape[1], stop - start): (slice(start, stop), slice(None), True)}
    one, two = _logged(subject, base, kwargs), _logged(subject, base[:, start:stop])
    yield divergence(one.operations, two.operations, parts.get)


def _continued(subject: Subject, violation: Violation) -> Parting:
    """One pass, and the piece of a stream that returns the first position that differs."""
    step, base = streaming(subject), subject.base()
    assert step is not None
    length, sink = base.shape[1], violation.sink.position or 0
    whole, first, _ = _logged(subject, base)
    half = max(1, length // 2)
    together = 1 if subject.plan is None else subject.plan.clocks.capacity
    for sizes in ([1] * length, [half, *[1] * (length - half)], [3] * (length // 3) + [length % 3] * (length % 3 > 0)):
        streamed, second, before, fed = _streamed(subject, step, base, sizes, sink)
        if _differ(whole[:, before : before + streamed.shape[1]], streamed, violation):
            # All up to the end of the piece, and the piece itself; on axes of positions and of slots.
            yield divergence(
                first,
                second,
                {
                    (length * each, size * each): (slice((fed.stop - size) * each, fed.stop * each), slice(None), True)
                    for size in (fed.stop, fed.stop - fed.start)
                    for each in (together, 1)
                }.get,
            )


def _streamed(
    subject: Subject, step: Callable[..., Any], inputs: Tensor, sizes: list[int], sink: int
) -> tuple[Tensor, list[Operation], int, slice]:
    """Outputs and operations of the piece that returns a position, the outputs before it, and what was fed with it."""
    kept: list[tuple[Tensor, list[Operation], int, slice]] = []

    def call(model: Any, given: Tensor) -> Any:
        state, past, before = None, 0, 0
        for piece in pieces(subject, given, sizes):
            log = OperationLog(subject)
            with contextlib.nullcontext() if kept else log:
                output, state = step(model, piece, state, past)
            found, fed = outputs_of_piece(subject, output, piece), slice(past, past + piece.shape[1])
            if not kept and before + found.shape[1] > sink:
                kept.append((found, log.operations, before, fed))
            past, before = fed.stop, before + found.shape[1]
        return torch.zeros(*given.shape[:2], 1)

    subject.call(call, inputs)
    return kept[0]


def _differ(one: Tensor, two: Tensor, violation: Violation) -> bool:
    return float(max_abs_diff(one, two).max()) > violation.noise_floor


_WAYS: dict[str, Callable[[Subject, Violation], Parting]] = {
    "prefix-length": _cut,
    "repeat-call": _again,
    "decode": _continued,
    "documents": _packed,
}
