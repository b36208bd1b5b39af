"""A trace that records every operation, so that a leak can be followed back to where it enters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from audits.instruments.source_lines import Frame, own_packages, user_frames
from audits.instruments.tracing.call import ArgumentLabels, Call, Rule
from audits.instruments.tracing.positions import numbered, positions_of
from audits.instruments.tracing.rules import Plan
from audits.instruments.tracing.taint_map import TaintMaps, storage_key
from audits.instruments.tracing.trace import trace_outputs
from audits.instruments.tracing.tracer import Tracer
from audits.subject.operations import tensors_in
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Event:
    """One operation of a recorded pass.

    Attributes:
        call: with copies of its inputs, where those may be overwritten later.
        rule: the one that computed the labels.
        layout: it only moves elements.
        origins: the tensors given as arguments, by argument name (a list for list arguments), in their storages.
        targets: the tensors written.
        origin_positions: of the arguments' elements, by name as above, where some are known (see `positions`).
        positions: of the elements of each target; None where none is known.
        frames: the subject's stack, innermost first.
    """

    call: Call
    rule: Rule
    layout: bool
    origins: dict[str, Any]
    targets: tuple[Tensor, ...]
    origin_positions: dict[str, Any]
    positions: tuple[Tensor | None, ...]
    frames: tuple[Frame, ...]

    def given(self) -> dict[str, Any]:
        """All arguments by name, tensors in their storages."""
        return {**self.call.values, **self.origins}

    def labels_with(self, labels: ArgumentLabels, target: int) -> Tensor | None:
        """The labels of a target if the arguments had others."""
        result = self.rule(self.call.with_labels(labels))
        found = result[target] if isinstance(result, tuple) else result
        return None if found is None else found.expand(self.targets[target].shape)


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
        given = {name: known for name, value in origins.items() if (known := self._known(value)) is not None}
        positions = tuple(
            positions_of(call, used, given, n, target.shape, self.length) for n, target in enumerate(targets)
        )
        event = Event(kept, used, todo.layout, origins, tuple(targets), given, positions, user_frames())
        for target, found in zip(targets, positions, strict=True):
            self._positions.write(target, found)
            self.writers.setdefault(storage_key(target), []).append(len(self.events))
        self.events.append(event)

    def _set_constant(self, todo: Plan, values: dict[str, Any], out: Any) -> None:
        super()._set_constant(todo, values, out)
        for made in (out,) if isinstance(out, Tensor) else ():
            self.constants[storage_key(made)] = Constant(todo.name, values, made, user_frames())

    def _known(self, value: Any) -> Any:
        """The positions of an argument's elements, for each item of a list; None where none are known."""
        known = tree_map_only(Tensor, self._positions.read, value)
        return known if tensors_in(known) else None


def _copied(value: Any, needed: bool) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), value) if needed else value


def cell_of(tensor: Tensor, element: int) -> int:
    """The first byte, within its storage, of an element given by its row-major index."""
    index = torch.unravel_index(torch.tensor(element), tensor.shape) if tensor.ndim else ()
    offset = tensor.storage_offset() + sum(int(i) * s for i, s in zip(index, tensor.stride(), strict=True))
    return int(offset) * tensor.element_size()


def element_at(tensor: Tensor, byte: int) -> int | None:
    """The row-major index of the element of a tensor that covers a byte of its storage; None where none does."""
    offsets = torch.tensor(tensor.storage_offset())
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = offsets[..., None] + torch.arange(size) * stride
    found = (offsets.reshape(-1) == byte // tensor.element_size()).nonzero()
    return int(found[0]) if len(found) else None
