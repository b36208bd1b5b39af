"""From a leaking output back to the line of the subject where a later token first reaches an earlier position.

One token, the source, has label 2, every other input has label 1. From the sink the walk goes back along elements that
have label 2, to the token. *Leaking* elements are at positions before the source, *own* elements are not. The crossing
is what lies between the own element that the walk meets first and the last leaking element before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from audits.instruments.probe import Pair
from audits.instruments.source_lines import Frame, display_path, last_of_each_line, own_frame
from audits.instruments.tracing.call import ArgumentLabels
from audits.instruments.tracing.record import Constant, Event, Recorder, cell_of, element_at
from audits.instruments.tracing.rules_pointwise import HUGE
from audits.instruments.tracing.taint_map import LABEL_DTYPE, MASKED, storage_key, unflagged
from audits.results import TraceStep
from audits.subject.subject import Subject

SOURCE = 2  # the label of what depends on the source
CHOICES = {"topk", "sort", "kthvalue", "median", "round", "floor", "ceil", "trunc", "sign"}
ORDERS = {"tril", "triu", "le", "lt", "ge", "gt"}  # what says which position comes before which
MAX_STEPS = 2000  # longer walks are given up
Argument = tuple[str, int]  # name, and index where the argument is a list, else -1


@dataclass(frozen=True)
class Attribution:
    """Where a leak enters.

    Attributes:
        op: the operation, without namespace.
        frame: the innermost line of the model's own code that called it; None where only torch's was on the stack.
        trail: the lines of the whole crossing in the order they ran, without repetition.
        discrete: the crossing passes a choice or a rounding, whose result may be equal for different inputs.
        trace: the way of the value from the token to the output.
    """

    op: str
    frame: Frame | None
    trail: tuple[Frame, ...]
    discrete: bool
    trace: tuple[TraceStep, ...]


class Where(Enum):
    """Where an element is, compared with the source."""

    LEAKING = "before it"
    UNKNOWN = "unknown"
    OWN = "at or after it"


@dataclass(frozen=True)
class Step:
    """One element on the walk: of an argument of an event, which passed its label on to a target of the event."""

    event: int
    target: int
    name: str
    index: int
    tensor: Tensor
    element: int
    where: Where


def attribute(subject: Subject, pair: Pair, sink: int, *, follow_values: bool) -> Attribution | None:
    """The operation through which token `pair.cut` reaches output `sink` before it.

    Args:
        subject: the model.
        pair: two inputs that differ at position `cut` (and maybe after it).
        sink: an earlier position whose output depends on it.
        follow_values: walk only along elements that differ between the two inputs, where both passes run alike.

    Returns:
        None where the trace shows no such flow, or the walk ends nowhere.
    """
    sources = torch.zeros(pair.base.shape[:2], dtype=torch.int64)
    sources[pair.row, pair.cut] = SOURCE - 1
    one = Recorder.of(subject, pair.base, sources, training=pair.training)
    two = Recorder.of(subject, pair.changed, sources, training=pair.training) if follow_values else None
    other = two if two is not None and two.names == one.names else None
    start = None if one.labels is None else _start(one, other, pair.row, sink)
    if start is None:
        return None
    return _Walk(one, other.events if other else None, pair.cut, sink).back(one.output, start)


def _start(one: Recorder, two: Recorder | None, row: int, sink: int) -> int | None:
    """An element of the output at the sink that depends on the source, and one that differs if that is known."""
    assert one.labels is not None
    at = torch.zeros_like(one.labels, dtype=torch.bool)
    at[row, sink] = True
    found = (unflagged(one.labels) == SOURCE) & at
    for allowed in ([found & (one.output != two.output)] if two is not None else []) + [found]:
        elements = allowed.reshape(-1).nonzero()
        if len(elements):
            return int(elements[0])
    return None


class _Walk:
    def __init__(self, recorder: Recorder, other: list[Event] | None, source: int, sink: int) -> None:
        self.recorder, self.other, self.source, self.sink = recorder, other, source, sink

    def back(self, tensor: Tensor, element: int) -> Attribution | None:
        """Walk from an element of the output to the token; None where the walk ends before it meets an own element."""
        steps: list[Step] = []
        crossed: int | None = None  # how many steps lead to the first own element
        before = len(self.recorder.events)
        for _ in range(MAX_STEPS):
            written = self._writer(tensor, element, before)
            if written is None:
                crossed = len(steps) if crossed is None else crossed
                break
            number, target, index = written
            where = self._where(self.recorder.events[number].positions[target], index)
            if where is Where.OWN and steps and crossed is None:
                crossed = len(steps)
            if where is Where.LEAKING and steps:
                steps[-1] = replace(steps[-1], where=where)
            step = self._step(number, target, index)
            if step is None:
                break
            steps.append(step)
            if step.where is Where.OWN and crossed is None:
                crossed = len(steps)
            tensor, element, before = step.tensor, step.element, number
        return None if crossed is None else self._attribute(steps[:crossed], steps)

    def _where(self, positions: Tensor | None, element: int) -> Where:
        number = 0 if positions is None else int(positions.reshape(-1)[element])
        return Where.UNKNOWN if not number else Where.OWN if number > self.source else Where.LEAKING

    def _writer(self, tensor: Tensor, element: int, before: int) -> tuple[int, int, int] | None:
        """The event that last wrote an element before some event: its number, which target, which element of it."""
        byte = cell_of(tensor, element)
        for number in reversed(self.recorder.writers.get(storage_key(tensor), [])):
            if number < before:
                for target, written in enumerate(self.recorder.events[number].targets):
                    if storage_key(written) == storage_key(tensor):
                        index = element_at(written, byte)
                        if index is not None:
                            return number, target, index
        return None

    def _step(self, number: int, target: int, index: int) -> Step | None:
        """An element among the event's arguments that passes the source's label on to this element of its target."""
        event = self.recorder.events[number]
        for where in Where:
            for differing in (True, False) if self.other else (False,):
                for key, mask in self._candidates(number, where, differing=differing).items():
                    if bool(mask.any()) and _restores(event, target, index, {key: mask}):
                        element = _narrow(event, target, index, key, mask)
                        return Step(number, target, *key, _origin(event, key), element, where)
        return None

    def _candidates(self, number: int, where: Where, *, differing: bool) -> dict[Argument, Tensor]:
        """Elements of each argument with the source's label, by where they are and whether the two passes differ."""
        event = self.recorder.events[number]
        found = {}
        for key, labels in arguments(event):
            known = _numbers(event, key)
            known = torch.zeros_like(labels) if known is None else known
            own = known > self.source
            kinds = {Where.LEAKING: (known > 0) & ~own, Where.UNKNOWN: known == 0, Where.OWN: own}
            mask = (unflagged(labels) == SOURCE) & kinds[where]
            if differing and self.other:
                one, two = value_of(event, key), value_of(self.other[number], key)
                mask = mask & (one != two) if one.shape == two.shape else mask
            found[key] = mask
        return found

    def _masks(self, event: Event, name: str) -> bool:
        """Whether an operation hides some elements, and the flow passed it by argument `name` as one not hidden."""
        values = event.call.values
        if event.call.name == "masked_fill":
            return name == "self" and _low(values["value"]) and bool(values["mask"].any())
        if event.call.name not in ("where", "add") or name == "condition":
            return False
        others = [v for n, v in values.items() if n in ("self", "other") and n != name]
        constant = event.call.name == "add" and len(event.call.labels) == 1
        return any(_low(v) or (constant and isinstance(v, Tensor) and self._pairs(v.shape)) for v in others)

    def _onwards(self, steps: list[Step], shape: torch.Size) -> Iterator[Step]:
        """From the crossing on towards the sink, while the shape stays: scores not masked yet are no crossing.

        Products merge the axes before the last two, so these may be grouped differently.
        """
        for step in reversed(steps):
            now = self.recorder.events[step.event].targets[0].shape
            if now[-2:] != shape[-2:] or now.numel() != shape.numel():
                return
            yield step

    def _attribute(self, crossed: list[Step], steps: list[Step]) -> Attribution | None:
        """In the crossing: the mask that let the token through, else the first operation that does not only move it."""
        last = max((n for n, s in enumerate(crossed) if s.where is Where.LEAKING), default=-1)
        crossing = list(reversed(crossed[last + 1 :]))
        events = [self.recorder.events[s.event] for s in crossing]
        if not events:
            return None
        hiding = [*crossing, *self._onwards(crossed[: last + 1], events[-1].targets[0].shape)]
        masks = [self.recorder.events[s.event] for s in hiding if self._masks(self.recorder.events[s.event], s.name)]
        computing = [e for e in events if not e.layout]
        # Pairing every position with every other is no crossing yet; what is done with the pairs may be.
        combining = [e for e in computing if "softmax" in e.call.name or not self._pairs(e.targets[0].shape)]
        masks = [] if self._asks(crossing) else masks
        chosen = (masks[-1:] or combining or computing or events)[0]
        if last < 0 and not masks:
            chosen = self._shift(steps) or chosen
        order = self._order(chosen) if masks else None
        op, frames = (order.name, order.frames) if order is not None else (chosen.call.name, chosen.frames)
        trail = dict.fromkeys(e.frames[0] for e in events if e.frames)
        return Attribution(
            op,
            own_frame(frames, self.recorder.packages),
            tuple(trail),
            any(_discrete(e, s.target) for e, s in zip(events, crossing, strict=True)),
            self._trace(steps),
        )

    def _shift(self, steps: list[Step]) -> Event | None:
        """What moved the token to the sink's own place, where nothing else brings it there: padding, as a rule.

        The walk back from the output is at the sink's place until there.
        """
        for step, before in zip(steps, [*steps[1:], None], strict=True):
            place = self._place(step)
            if place is not None and place != self.sink:
                return None
            event = None if before is None else self.recorder.events[before.event]
            if place is not None and event is not None and event.layout and self._place(before) != place:
                return event
        return None

    def _place(self, step: Step | None) -> int | None:
        """The index of a step's element along the one axis that is as long as the sequence; None where none is."""
        shape = step.tensor.shape if step is not None else ()
        axes = [axis for axis, size in enumerate(shape) if size == self.recorder.length]
        if step is None or len(axes) != 1:
            return None
        return int(torch.unravel_index(torch.tensor(step.element), shape)[axes[0]])

    def _pairs(self, shape: torch.Size) -> bool:
        """Whether a tensor relates positions to positions."""
        return sum(size == self.recorder.length for size in shape) >= 2

    def _asks(self, crossing: list[Step]) -> bool:
        """Whether the token is in what asks (queries, the first factor of scores): masks hide what is asked for."""
        return any(
            s.name == "self" and event.call.name in ("bmm", "mm") and event.positions[s.target] is None
            for s in crossing
            if (event := self.recorder.events[s.event])
        )

    def _order(self, event: Event) -> Constant | None:
        """What says, deepest in a mask, which position may see which, and lets later ones be seen."""
        left = [value for name, value in event.given().items() if name != "self"]
        found, seen = None, set[int]()
        while left:
            value = left.pop(0)
            left += [item for item in value if isinstance(item, Tensor)] if isinstance(value, (list, tuple)) else []
            if not isinstance(value, Tensor) or (key := storage_key(value)) in seen:
                continue
            seen.add(key)
            made = self.recorder.constants.get(key)
            if made is not None and made.name in ORDERS and _shows_later(made.made):
                found, left = made, list(made.values.values())
            elif made is not None:
                left += made.values.values()
            elif key in self.recorder.writers:
                left += self.recorder.events[self.recorder.writers[key][-1]].given().values()
        return found

    def _trace(self, steps: list[Step]) -> tuple[TraceStep, ...]:
        """The way from the token to the output: the last operation of each line that does not only move it."""
        made = []
        for step in reversed(steps):
            event = self.recorder.events[step.event]
            if event.layout or not event.frames:
                continue
            numbers, frame = _numbers(event, (step.name, step.index)), event.frames[0]
            number = 0 if numbers is None else int(numbers.reshape(-1)[step.element])
            position = number - 1 if number else None
            made.append(TraceStep(event.call.name, display_path(frame.file), frame.line, position))
        token, output = TraceStep("token", position=self.source), TraceStep("output", position=self.sink)
        return (token, *last_of_each_line(made), output)


def _numbers(event: Event, key: Argument) -> Tensor | None:
    """The positions of an argument's elements, counted from 1, 0 where unknown; None where no one is known."""
    known = event.origin_positions.get(key[0])
    return None if known is None else _pick(known, key[1])


def arguments(event: Event) -> Iterator[tuple[Argument, Tensor]]:
    """All labels of an event's arguments with their keys."""
    for name, labels in event.call.labels.items():
        if isinstance(labels, list):
            yield from (((name, n), each) for n, each in enumerate(labels) if each is not None)
        else:
            yield (name, -1), labels


def _pick(value: Any, index: int) -> Tensor:
    picked: Tensor = value if index < 0 else value[index]
    return picked


def _origin(event: Event, key: Argument) -> Tensor:
    return _pick(event.origins[key[0]], key[1])


def value_of(event: Event, key: Argument) -> Tensor:
    """An argument as it was before the operation."""
    return _pick(event.call.values[key[0]], key[1])


def restored_labels(event: Event, target: int, restored: dict[Argument, Tensor]) -> Tensor | None:
    """The labels of a target when only these elements of the arguments have the source's label.

    The others keep label 1: they are still no constants, so that nothing they hold starts to annihilate.
    """
    new: ArgumentLabels = {}
    for key, labels in arguments(event):
        # Label 2 lowered to 1; the flag of masked elements stays.
        lowered = torch.where(unflagged(labels) == SOURCE, (labels & MASKED) | 1, labels).to(LABEL_DTYPE)
        if key in restored:
            lowered = torch.where(restored[key], labels, lowered)
        if key[1] < 0:
            new[key[0]] = lowered
        else:
            new.setdefault(key[0], [None] * len(event.call.labels[key[0]]))[key[1]] = lowered
    return event.labels_with(new, target)


def _restores(event: Event, target: int, index: int, restored: dict[Argument, Tensor]) -> bool:
    """Whether the target's element then has the source's label."""
    found = restored_labels(event, target, restored)
    return found is not None and int(unflagged(found.reshape(-1)[index])) == SOURCE


def _narrow(event: Event, target: int, index: int, key: Argument, mask: Tensor) -> int:
    """One element of the mask that suffices, by halving."""
    elements = mask.reshape(-1).nonzero().reshape(-1)
    while len(elements) > 1:
        half = elements[: len(elements) // 2]
        part = torch.zeros(mask.numel(), dtype=torch.bool)
        part[half] = True
        elements = half if _restores(event, target, index, {key: part.view(mask.shape)}) else elements[len(half) :]
    return int(elements[0])


def _shows_later(order: Tensor) -> bool:
    """Whether a matrix [..., queries, keys] of what is seen, or of what is hidden, lets a query see a later key."""
    if order.ndim < 2 or min(order.shape[-2:]) < 2:
        return False
    queries, keys = order.shape[-2:]
    seen = (order != 0).reshape(-1, queries, keys)
    seen = seen if bool(seen[:, -1, 0].any()) else ~seen  # the last query sees the first key
    return bool(seen.triu(1 + keys - queries).any())


def _discrete(event: Event, target: int) -> bool:
    """Whether what an operation returns can stay exactly as it is while its inputs change."""
    result = event.targets[target]
    return event.call.name in CHOICES or not (result.is_floating_point() or result.is_complex())


def _low(value: Any) -> bool:
    """Whether a number or tensor holds something that hides what it is added to."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and bool((value <= -HUGE).any())
    return isinstance(value, (int, float)) and value <= -HUGE
