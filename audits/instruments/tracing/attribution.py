"""From a leaking output back to the line of the subject where a later token first reaches an earlier position.

One token, the source, has label 2, every other input has label 1. From the sink the walk goes back along elements that
have label 2, to the token. *Leaking* elements are at positions before the source, *own* elements are not. The crossing
is what lies between the own element that the walk meets first and the last leaking element before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from audits.instruments.probe import Pair
from audits.instruments.source_lines import Frame, last_of_each_line, own_frame
from audits.instruments.tracing.record import Argument, Constant, Event, Recorder, cell_of, element_at
from audits.instruments.tracing.rules_pointwise import HUGE
from audits.instruments.tracing.taint_map import LABEL_DTYPE, MASKED, storage_key, unflagged
from audits.results import TraceStep
from audits.subject.subject import Subject

SOURCE = 2  # the label of what depends on the source
CHOICES = {"topk", "sort", "kthvalue", "median", "round", "floor", "ceil", "trunc", "sign"}
ORDERS = {"tril", "triu", "le", "lt", "ge", "gt"}  # what says which position comes before which
MAX_STEPS = 2000  # longer walks are given up


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


class Where(IntEnum):
    """Where an element is, compared with the source."""

    LEAKING = -1  # before it
    UNKNOWN = 0
    OWN = 1  # at or after it


@dataclass(frozen=True)
class Step:
    """One element on the walk: of an argument of an event, which passed its label on to a target of the event."""

    event: Event
    target: int
    argument: Argument
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
        before = len(self.recorder.events)
        while len(steps) < MAX_STEPS and (written := self._writer(tensor, element, before)) is not None:
            step = self._step(*written)
            if step is None:
                break
            steps.append(step)
            tensor, element, before = step.argument.origin, step.element, step.event.number
        crossed = next((n for n, step in enumerate(steps, 1) if step.where is Where.OWN), None)
        return None if crossed is None else self._attribute(steps[:crossed], steps)

    def _writer(self, tensor: Tensor, element: int, before: int) -> tuple[Event, int, int] | None:
        """The event that last wrote an element before some event, which target, which element of it."""
        byte = cell_of(tensor, element)
        for number in reversed(self.recorder.writers.get(storage_key(tensor), [])):
            if number < before:
                event = self.recorder.events[number]
                for target, written in enumerate(event.targets):
                    if storage_key(written) == storage_key(tensor):
                        index = element_at(written, byte)
                        if index is not None:
                            return event, target, index
        return None

    def _step(self, event: Event, target: int, index: int) -> Step | None:
        """An element among the event's arguments that passes the source's label on to this element of its target."""
        for where in Where:
            for differing in (True, False) if self.other else (False,):
                for argument in event.arguments:
                    mask = self._candidates(event, argument, where, differing=differing)
                    if bool(mask.any()) and _restores(event, target, index, argument, mask):
                        element = _narrow(event, target, index, argument, mask)
                        return Step(event, target, argument, element, where)
        return None

    def _candidates(self, event: Event, argument: Argument, where: Where, *, differing: bool) -> Tensor:
        """Elements of an argument with the source's label, by where they are and whether the two passes differ."""
        known = argument.positions
        kinds = {Where.LEAKING: (known > 0) & (known <= self.source), Where.UNKNOWN: known == 0}
        mask: Tensor = (unflagged(argument.labels) == SOURCE) & kinds.get(where, known > self.source)
        if differing and self.other:
            one, two = argument.value(event), argument.value(self.other[event.number])
            mask = mask & (one != two) if one.shape == two.shape else mask
        return mask

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
            now = step.event.targets[0].shape
            if now[-2:] != shape[-2:] or now.numel() != shape.numel():
                return
            yield step

    def _attribute(self, crossed: list[Step], steps: list[Step]) -> Attribution:
        """In the crossing: the mask that let the token through, else the first operation that does not only move it."""
        last = max((n for n, s in enumerate(crossed) if s.where is Where.LEAKING), default=-1)
        crossing = crossed[last + 1 :][::-1]
        events = [step.event for step in crossing]
        hiding = [*crossing, *self._onwards(crossed[: last + 1], events[-1].targets[0].shape)]
        masks = [] if self._asks(crossing) else [s.event for s in hiding if self._masks(s.event, s.argument.name)]
        computing = [e for e in events if not e.layout]
        # Pairing every position with every other is no crossing yet; what is done with the pairs may be.
        combining = [e for e in computing if "softmax" in e.call.name or not self._pairs(e.targets[0].shape)]
        chosen = (masks[-1:] or combining or computing or events)[0]
        if last < 0 and not masks:
            chosen = self._shift(steps) or chosen
        order = self._order(chosen) if masks else None
        op, frames = (order.name, order.frames) if order is not None else (chosen.call.name, chosen.frames)
        return Attribution(
            op,
            own_frame(frames, self.recorder.packages),
            tuple(dict.fromkeys(e.frames[0] for e in events if e.frames)),
            any(_discrete(step) for step in crossing),
            self._trace(steps),
        )

    def _shift(self, steps: list[Step]) -> Event | None:
        """What moved the token to the sink's own place, where nothing else brings it there: padding, as a rule.

        The walk back from the output is at the sink's place until there.
        """
        for step, before in pairwise(steps):
            place = self._place(step)
            if place not in (None, self.sink):
                return None
            if place is not None and before.event.layout and self._place(before) != place:
                return before.event
        return None

    def _place(self, step: Step) -> int | None:
        """The index of a step's element along the one axis that is as long as the sequence; None where none is."""
        shape = step.argument.origin.shape
        axes = [axis for axis, size in enumerate(shape) if size == self.recorder.length]
        return int(torch.unravel_index(torch.tensor(step.element), shape)[axes[0]]) if len(axes) == 1 else None

    def _pairs(self, shape: torch.Size) -> bool:
        """Whether a tensor relates positions to positions."""
        return sum(size == self.recorder.length for size in shape) >= 2

    def _asks(self, crossing: list[Step]) -> bool:
        """Whether the token is in what asks (queries, the first factor of scores): masks hide what is asked for."""
        return any(
            s.argument.name == "self" and s.event.call.name in ("bmm", "mm") and s.event.positions[s.target] is None
            for s in crossing
        )

    def _order(self, event: Event) -> Constant | None:
        """What says, deepest in a mask, which position may see which, and lets later ones be seen."""
        left = [value for name, value in event.given.items() if name != "self"]
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
                left += self.recorder.events[self.recorder.writers[key][-1]].given.values()
        return found

    def _trace(self, steps: list[Step]) -> tuple[TraceStep, ...]:
        """The way from the token to the output: the last operation of each line that does not only move it."""
        made = []
        for step in reversed(steps):
            if not step.event.layout and step.event.frames:
                number = int(step.argument.positions.reshape(-1)[step.element])
                position = number - 1 if number else None
                made.append(TraceStep(step.event.call.name, *step.event.frames[0].place, position))
        token, output = TraceStep("token", position=self.source), TraceStep("output", position=self.sink)
        return (token, *last_of_each_line(made), output)


def restored_labels(event: Event, target: int, restored: Mapping[Argument, Tensor]) -> Tensor | None:
    """The labels of a target when only these elements of the arguments have the source's label.

    The others keep label 1: they are still no constants, so that nothing they hold starts to annihilate.
    """

    def lowered(argument: Argument) -> Tensor:
        # Label 2 lowered to 1; the flag of masked elements stays.
        kept = unflagged(argument.labels) != SOURCE
        if argument in restored:
            kept |= restored[argument]
        return torch.where(kept, argument.labels, (argument.labels & MASKED) | 1).to(LABEL_DTYPE)

    return event.labels_with(map(lowered, event.arguments), target)


def _restores(event: Event, target: int, index: int, argument: Argument, mask: Tensor) -> bool:
    """Whether the target's element has the source's label if only these elements of an argument have it."""
    found = restored_labels(event, target, {argument: mask})
    return found is not None and int(unflagged(found.reshape(-1)[index])) == SOURCE


def _narrow(event: Event, target: int, index: int, argument: Argument, mask: Tensor) -> int:
    """One element of the mask that suffices, by halving."""
    elements = mask.reshape(-1).nonzero().reshape(-1)
    while len(elements) > 1:
        half = elements[: len(elements) // 2]
        part = torch.zeros(mask.numel(), dtype=torch.bool)
        part[half] = True
        restores = _restores(event, target, index, argument, part.view(mask.shape))
        elements = half if restores else elements[len(half) :]
    return int(elements[0])


def _shows_later(order: Tensor) -> bool:
    """Whether a matrix [..., queries, keys] of what is seen, or of what is hidden, lets a query see a later key."""
    if order.ndim < 2 or min(order.shape[-2:]) < 2:
        return False
    queries, keys = order.shape[-2:]
    seen = (order != 0).reshape(-1, queries, keys)
    seen = seen if bool(seen[:, -1, 0].any()) else ~seen  # the last query sees the first key
    return bool(seen.triu(1 + keys - queries).any())


def _discrete(step: Step) -> bool:
    """Whether what an operation returns can stay exactly as it is while its inputs change."""
    result = step.event.targets[step.target]
    return step.event.call.name in CHOICES or not (result.is_floating_point() or result.is_complex())


def _low(value: Any) -> bool:
    """Whether a number or tensor holds something that hides what it is added to."""
    if isinstance(value, Tensor):
        return value.is_floating_point() and bool((value <= -HUGE).any())
    return isinstance(value, (int, float)) and value <= -HUGE
