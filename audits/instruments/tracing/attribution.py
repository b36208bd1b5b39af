"""From a leaking output back to the line of the subject where a later token first reaches an earlier position.

One token, the source, carries stamp 2, every other input stamp 1. From the sink the walk goes back along elements with
stamp 2. An element's position is its index along an axis as long as the sequence (a prime length, so that no other
axis is), or along two axes that chunk it. *Leaking* elements stand before the source; *home* elements do not.
The crossing is what lies between the home element where the walk ends and the last leaking element before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from audits.instruments.probe import Pair
from audits.instruments.source_lines import Frame
from audits.instruments.tracing.call import Marks
from audits.instruments.tracing.record import Event, Recorder, cell_of, element_at
from audits.instruments.tracing.rules_pointwise import HUGE
from audits.instruments.tracing.taint_map import MASKED, STAMP, storage_key, times_of
from audits.instruments.tracing.trace import run
from audits.subject.subject import Subject

SOURCE = 2  # the stamp of what depends on the source
CHOICES = {"topk", "sort", "kthvalue", "median", "round", "floor", "ceil", "trunc", "sign"}
STEPS = 2000  # longer walks are given up


@dataclass(frozen=True)
class Blame:
    """Where the future gets in.

    Attributes:
        op: the operation, without namespace.
        frame: the innermost line of the subject that called it; None where only torch's own code was on the stack.
        trail: the lines of the whole crossing in the order they ran, without repetition.
        discrete: the crossing passes a choice or a rounding, which small and even large changes may leave as it is.
    """

    op: str
    frame: Frame | None
    trail: tuple[Frame, ...]
    discrete: bool


@dataclass(frozen=True)
class Step:
    """One element on the walk: of the argument `name` of an event, which handed its stamp to a target of the event."""

    event: int
    target: int
    name: str
    tensor: Tensor
    element: int
    leaking: bool
    home: bool


def blame(subject: Subject, pair: Pair, sink: int, *, follow_values: bool) -> Blame | None:
    """The place where token `pair.cut` reaches output `sink` before it.

    Args:
        subject: the model.
        pair: two inputs that differ at position `cut` (and maybe after it).
        sink: an earlier position whose output depends on it.
        follow_values: walk only along elements that differ between the two inputs, where both passes run alike.

    Returns:
        None where the trace shows no such flow, or the walk ends nowhere.
    """
    one = _recorded(subject, pair, pair.base)
    two = _recorded(subject, pair, pair.changed) if follow_values else None
    if one.output is None:
        return None
    other = two.recorder.events if two is not None and _alike(one.recorder, two.recorder) else None
    start = _start(one, two if other is not None else None, sink)
    if start is None:
        return None
    # Two axes that look like chunks may be features by chance; the walk then ends without a crossing.
    walks = (_Walk(one.recorder, other, pair.base.shape[1], pair.cut, chunked=chunked) for chunked in (True, False))
    return next((found for walk in walks if (found := walk.back(one.tensor, start)) is not None), None)


@dataclass(frozen=True)
class _Recording:
    recorder: Recorder
    tensor: Tensor
    output: Tensor | None


def _recorded(subject: Subject, pair: Pair, inputs: Tensor) -> _Recording:
    labels = torch.zeros(inputs.shape[:2], dtype=torch.int64)
    labels[:, pair.cut] = SOURCE - 1
    recorder = Recorder(subject.module)
    kept: list[Tensor] = []
    stamps = run(subject, recorder, inputs, labels, training=pair.training, keep=kept)
    return _Recording(recorder, kept[0], stamps)


def _alike(one: Recorder, two: Recorder) -> bool:
    return [e.call.name for e in one.events] == [e.call.name for e in two.events]


def _start(one: _Recording, two: _Recording | None, sink: int) -> int | None:
    """An element of the output at the sink that depends on the source, and moved if that is known."""
    assert one.output is not None
    found = times_of(one.output) == SOURCE
    at = torch.zeros_like(found)
    at[0, sink] = True
    for allowed in ([found & at & (one.tensor != two.tensor)] if two is not None else []) + [found & at]:
        elements = allowed.reshape(-1).nonzero()
        if len(elements):
            return int(elements[0])
    return None


class _Walk:
    def __init__(
        self, recorder: Recorder, other: list[Event] | None, length: int, source: int, *, chunked: bool
    ) -> None:
        self.recorder, self.other, self.length, self.source = recorder, other, length, source
        self.chunked = chunked

    def back(self, tensor: Tensor, element: int) -> Blame | None:
        """Walk from an element of the output until home."""
        steps: list[Step] = []
        before = len(self.recorder.events)
        written = None
        for _ in range(STEPS):
            written = self._writer(tensor, element, before)
            if written is None:
                break
            number, target, place = written
            kind = self._kind(self.recorder.events[number].targets[target].shape, place)
            if kind == "home" and steps:
                return self._judge(steps)
            if kind == "leaking" and steps:
                steps[-1] = replace(steps[-1], leaking=True)
            step = self._step(number, target, place)
            if step is None:
                return None
            steps.append(step)
            if step.home:
                return self._judge(steps)
            tensor, element, before = step.tensor, step.element, number
        return self._judge(steps) if before == 0 or written is None else None

    def _kind(self, shape: torch.Size, element: int) -> str:
        """What an element's position says: "home", "leaking" or "unknown"."""
        position = place_along(shape, self.length, chunked=self.chunked)
        if position is None:
            return "unknown"
        return "home" if int(position.reshape(-1)[element]) >= self.source else "leaking"

    def _writer(self, tensor: Tensor, element: int, before: int) -> tuple[int, int, int] | None:
        """The event that last wrote an element before some event: its number, which target, which element of it."""
        byte = cell_of(tensor, element)
        for number in reversed(self.recorder.writers.get(storage_key(tensor), [])):
            if number < before:
                for index, target in enumerate(self.recorder.events[number].targets):
                    if storage_key(target) == storage_key(tensor):
                        place = element_at(target, byte)
                        if place is not None:
                            return number, index, place
        return None

    def _step(self, number: int, target: int, place: int) -> Step | None:
        """An element among the event's arguments that hands the source's stamp to this element of its target."""
        event = self.recorder.events[number]
        for kind in ("leaking", "unknown", "home"):
            for moved in (True, False) if self.other else (False,):
                allowed = {
                    key: mask
                    for key, mask in self._candidates(number, kind, moved=moved).items()
                    if bool(mask.any()) and _restores(event, target, place, {key: mask})
                }
                for key, mask in allowed.items():
                    element = _narrow(event, target, place, key, mask)
                    return Step(number, target, key[0], _origin(event, key), element, kind == "leaking", kind == "home")
        return None

    def _candidates(self, number: int, kind: str, *, moved: bool) -> dict[tuple[str, int], Tensor]:
        """Elements of each argument that carry the source's stamp and are of a kind."""
        event = self.recorder.events[number]
        found = {}
        for key, mark in _marks(event):
            where = times_of(mark) == SOURCE
            position = place_along(_origin(event, key).shape, self.length, chunked=self.chunked)
            if position is None:
                where = where if kind == "unknown" else torch.zeros_like(where)
            else:
                before = position < self.source
                where = where & {"leaking": before, "unknown": torch.zeros_like(before), "home": ~before}[kind]
            if moved and self.other:
                one, two = _value(event, key), _value(self.other[number], key)
                where = where & (one != two) if one.shape == two.shape else where
            found[key] = where
        return found

    def _pairs(self, shape: torch.Size) -> bool:
        """Whether a tensor relates positions to positions."""
        return sum(size == self.length for size in shape) >= 2

    def _masks(self, event: Event, through: str) -> bool:
        """Whether an operation hides some elements, and the flow passed it as one that was not hidden."""
        values = event.call.values
        if event.call.name == "masked_fill":
            return through == "self" and _low(values["value"]) and bool(values["mask"].any())
        if event.call.name not in ("where", "add") or through == "condition":
            return False
        others = [v for n, v in values.items() if n in ("self", "other") and n != through]
        constant = event.call.name == "add" and len(event.call.marks) == 1
        return any(_low(v) or (constant and isinstance(v, Tensor) and self._pairs(v.shape)) for v in others)

    def _onwards(self, steps: list[Step], shape: torch.Size) -> Iterator[Step]:
        """From the crossing on towards the sink, while the shape stays: scores not masked yet are no crossing.

        Products merge the axes before the last two, so these may be cut otherwise.
        """
        for step in reversed(steps):
            now = self.recorder.events[step.event].targets[0].shape
            if now[-2:] != shape[-2:] or now.numel() != shape.numel():
                return
            yield step

    def _judge(self, steps: list[Step]) -> Blame | None:
        """The operation to blame: in the crossing, the mask that let it through, else the first that does not move."""
        last = max((n for n, s in enumerate(steps) if s.leaking), default=-1)
        crossing = list(reversed(steps[last + 1 :]))
        events = [self.recorder.events[s.event] for s in crossing]
        if not events:
            return None
        hiding = [*crossing, *self._onwards(steps[: last + 1], events[-1].targets[0].shape)]
        masks = [self.recorder.events[s.event] for s in hiding if self._masks(self.recorder.events[s.event], s.name)]
        works = [e for e in events if not e.layout]
        # Pairing every position with every other is no crossing yet; what is done with the pairs may be.
        settled = [e for e in works if not self._pairs(e.targets[0].shape)]
        guilty = (masks[-1:] or settled or works or events)[0]
        trail = dict.fromkeys(e.frames[0] for e in events if e.frames)
        return Blame(
            guilty.call.name,
            guilty.frames[0] if guilty.frames else None,
            tuple(trail),
            any(_discrete(e, s.target) for e, s in zip(events, crossing, strict=True)),
        )


def _marks(event: Event) -> Iterator[tuple[tuple[str, int], Tensor]]:
    """All stamps of an event's arguments with their keys (name, index in a list or -1)."""
    for name, mark in event.call.marks.items():
        if isinstance(mark, list):
            yield from (((name, n), m) for n, m in enumerate(mark) if m is not None)
        else:
            yield (name, -1), mark


def _pick(value: Any, index: int) -> Tensor:
    picked: Tensor = value if index < 0 else value[index]
    return picked


def _origin(event: Event, key: tuple[str, int]) -> Tensor:
    return _pick(event.origins[key[0]], key[1])


def _value(event: Event, key: tuple[str, int]) -> Tensor:
    return _pick(event.call.values[key[0]], key[1])


def _restores(event: Event, target: int, place: int, restored: dict[tuple[str, int], Tensor]) -> bool:
    """Whether the target's element has the source's stamp when only these elements of the arguments have it.

    The others keep stamp 1: they are still no constants, so that nothing they hold starts to annihilate.
    """
    marks: Marks = {}
    for key, mark in _marks(event):
        # Time 2 lowered to 1; the mark of masked elements stays.
        lowered = torch.where(times_of(mark) == SOURCE, (mark & MASKED) | 1, mark).to(STAMP)
        if key in restored:
            lowered = torch.where(restored[key], mark, lowered)
        if key[1] < 0:
            marks[key[0]] = lowered
        else:
            marks.setdefault(key[0], [None] * len(event.call.marks[key[0]]))[key[1]] = lowered
    stamps = event.stamps_with(marks, target)
    return stamps is not None and int(times_of(stamps.reshape(-1)[place])) == SOURCE


def _narrow(event: Event, target: int, place: int, key: tuple[str, int], mask: Tensor) -> int:
    """One element of the mask that suffices, by halving."""
    elements = mask.reshape(-1).nonzero().reshape(-1)
    while len(elements) > 1:
        half = elements[: len(elements) // 2]
        part = torch.zeros(mask.numel(), dtype=torch.bool)
        part[half] = True
        elements = half if _restores(event, target, place, {key: part.view(mask.shape)}) else elements[len(half) :]
    return int(elements[0])


def place_along(shape: torch.Size, length: int, *, chunked: bool = True) -> Tensor | None:
    """The position of every element of a tensor, broadcast to its shape; None where no or several axes could tell."""
    axes = [axis for axis, size in enumerate(shape) if size == length]
    if len(axes) == 1:
        return _along(shape, axes[0], torch.arange(length))
    pairs = [
        (a, b)
        for a in range(len(shape))
        for b in range(a + 1, len(shape))
        if chunked
        and not axes
        and shape[a] > 1
        and shape[b] > 1
        and (shape[a] - 1) * shape[b] < length <= shape[a] * shape[b]
    ]
    if len(pairs) != 1:
        return None
    chunks, within = pairs[0]
    return _along(shape, chunks, torch.arange(shape[chunks]) * shape[within]) + _along(
        shape, within, torch.arange(shape[within])
    )


def _along(shape: torch.Size, axis: int, numbers: Tensor) -> Tensor:
    return numbers.reshape([-1 if a == axis else 1 for a in range(len(shape))]).expand(shape)


def _discrete(event: Event, target: int) -> bool:
    """Whether what an operation returns can stay exactly as it is while its inputs change."""
    result = event.targets[target]
    return event.call.name in CHOICES or not (result.is_floating_point() or result.is_complex())


def _low(value: Any) -> bool:
    """Whether a number or tensor holds something that hides what it is added to."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and bool((value <= -HUGE).any())
    return isinstance(value, (int, float)) and value <= -HUGE
