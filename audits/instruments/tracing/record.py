"""A trace that records every operation, so that a leak can be followed back to where it enters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from audits.instruments.source_lines import Frame, own_packages, user_frames
from audits.instruments.tracing.call import Call, Rule, labels_of_result
from audits.instruments.tracing.positions import numbered, positions_of
from audits.instruments.tracing.rules import Plan
from audits.instruments.tracing.taint_map import TaintMaps, storage_key
from audits.instruments.tracing.trace import trace_outputs
from audits.instruments.tracing.tracer import Tracer
from audits.subject.operations import tensors_in
from audits.subject.subject import Subject


@dataclass(frozen=True, eq=False)
class Argument:
    """A tensor, not constant, that an operation was given.

    Attributes:
        name: of the argument.
        index: of the tensor where the argument is a list, else -1.
        labels: of its elements.
        origin: the tensor in its storage.
        positions: of its elements, counted from 1; 0 where unknown (see `positions`).
    """

    name: str
    index: int
    labels: Tensor
    origin: Tensor
    positions: Tensor

    def value(self, event: Event) -> Tensor:
        """What it holds before an event, of this pass or of another."""
        found: Tensor = item(event.call.values[self.name], self.index)
        return found


@dataclass(frozen=True)
class Event:
    """One operation of a recorded pass.

    Attributes:
        number: its place in the pass.
        call: with copies of its inputs, where those may be overwritten later.
        rule: the one that computed the labels.
        layout: it only moves elements.
        given: all arguments by name, tensors in their storages.
        arguments: the tensors among them that are not constant.
        targets: the tensors written.
        positions: of the elements of each target; None where none is known.
        frames: the subject's stack, innermost first.
    """

    number: int
    call: Call
    rule: Rule
    layout: bool
    given: dict[str, Any]
    arguments: tuple[Argument, ...]
    targets: tuple[Tensor, ...]
    positions: tuple[Tensor | None, ...]
    frames: tuple[Frame, ...]

    def labels_with(self, labels: Iterable[Tensor], target: int) -> Tensor | None:
        """The labels of a target if the arguments had others."""
        new = iter(labels)
        call = self.call.with_labels(tree_map_only(Tensor, lambda _: next(new), self.call.labels))
        return labels_of_result(self.rule, call, target, self.targets[target].shape)


@dataclass(frozen=True)
class Constant:
    """What an operation on constants made: its name, arguments, result, and the subject's stack."""

    name: str
    values: dict[str, Any]
    made: Tensor
    frames: tuple[Frame, ...]


class Recorder(Tracer):
    """A tracer that records every event, which events wrote to a storage, and what constants were made of."""

    def __init__(self, module: nn.Module | None) -> None:
        super().__init__(module)
        self.packages = own_packages(module)
        self.events: list[Event] = []
        self.writers: dict[int, list[int]] = {}
        self.constants: dict[int, Constant] = {}
        self._positions = TaintMaps()
        self.length = 0
        self.output = torch.empty(0)  # [B, N, F], and its labels; None where it is constant
        self.labels: Tensor | None = None

    @classmethod
    def of(cls, subject: Subject, inputs: Tensor, sources: Tensor, *, training: bool = False) -> Recorder:
        """A recorded pass of a subject on inputs [B, N, ...], whose tokens have the source numbers [B, N]."""
        recorder = cls(subject.module)
        recorder.output, recorder.labels = trace_outputs(subject, recorder, inputs, sources, training=training)
        return recorder

    @property
    def names(self) -> list[str]:
        """The operations, in order."""
        return [event.call.name for event in self.events]

    def start(self, inputs: Tensor, labels: Tensor) -> None:
        """Label the inputs [B, N, ...] and number their positions."""
        super().start(inputs, labels)
        self.length = inputs.shape[1]
        self._positions.write(inputs, numbered(inputs.shape, 1))

    def _record(self, todo: Plan, used: Rule, call: Call, targets: list[Tensor]) -> None:
        # In-place calls already hold a copy of what they overwrite; other inputs may be overwritten by later calls.
        values = {name: _copied(value, name in call.labels) for name, value in call.values.items()}
        kept = replace(call, values=values, out=_copied(call.out, True))
        origins = {name: call.values[name] for name in call.labels}
        if todo.reads_old_value:
            origins |= {name: targets[0] for name in todo.written - todo.outputs if name in origins and targets}
        known = {name: tree_map_only(Tensor, self._positions.read, value) for name, value in origins.items()}
        known = {name: each for name, each in known.items() if tensors_in(each)}
        positions = tuple(positions_of(call, used, known, n, t.shape, self.length) for n, t in enumerate(targets))
        number, arguments = len(self.events), tuple(_arguments(call, origins, known))
        given = {**kept.values, **origins}
        self.events.append(
            Event(number, kept, used, todo.layout, given, arguments, tuple(targets), positions, user_frames())
        )
        for target, found in zip(targets, positions, strict=True):
            self._positions.write(target, found)
            self.writers.setdefault(storage_key(target), []).append(number)

    def _set_constant(self, todo: Plan, values: dict[str, Any], out: Any) -> None:
        super()._set_constant(todo, values, out)
        for made in (out,) if isinstance(out, Tensor) else ():
            self.constants[storage_key(made)] = Constant(todo.name, values, made, user_frames())


def _arguments(call: Call, origins: dict[str, Any], known: dict[str, Any]) -> Iterator[Argument]:
    for name, given in call.labels.items():
        for index, labels in enumerate(given) if isinstance(given, list) else [(-1, given)]:
            if labels is not None:
                positions = item(known[name], index) if name in known else None
                positions = torch.zeros_like(labels) if positions is None else positions
                yield Argument(name, index, labels, item(origins[name], index), positions)


def item(value: Any, index: int) -> Any:
    """The item of a list; the value itself where the index is -1."""
    return value if index < 0 else value[index]


def _copied(value: Any, needed: bool) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), value) if needed else value


def cell_of(tensor: Tensor, element: int) -> int:
    """The first byte, within its storage, of an element given by its row-major index."""
    offset = int(tensor.storage_offset())
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        element, index = divmod(element, size)
        offset += index * stride
    return offset * tensor.element_size()


def element_at(tensor: Tensor, byte: int) -> int | None:
    """The row-major index of the element of a tensor that covers a byte of its storage; None where none does."""
    offsets = torch.tensor(tensor.storage_offset())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = offsets[..., None] + torch.arange(size) * stride
    found = (offsets.reshape(-1) == byte // tensor.element_size()).nonzero()
    return int(found[0]) if len(found) else None
