"""Finds the module where a leak enters: where they must agree, its inputs do and its outputs do not."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audits.instruments.noise_floor import max_abs_diff
from audits.instruments.probe import Pair, Violation
from audits.instruments.source_lines import Frame, display_path, user_frames
from audits.subject.operations import tensors_in
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Location:
    """A module of the subject and the source line of its forward method; of a module of torch, of its call."""

    module: str
    file: str | None
    line: int | None


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module: copies of the tensors that went in and came out, and the subject's line that made it."""

    name: str
    module: nn.Module
    caller: Frame | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def find_location(subject: Subject, violation: Violation) -> Location | None:
    """Where a violation comes from; None where it has no pair of inputs, or the module cannot be determined."""
    if violation.pair is None:
        return None
    try:
        return locate(subject, violation.pair, violation.noise_floor)
    except Exception:
        return None


def locate(subject: Subject, pair: Pair, floor: float) -> Location | None:
    """The innermost, earliest module that turns inputs that agree (before the cut, as a rule) into outputs that do not.

    None where the subject is no module or its call order depends on the data. A module all of whose inputs can be
    aligned with the sequence is preferred; where other inputs differ (one state for each chunk, for example) its parent
    is tried instead.
    """
    if subject.module is None:
        return None
    before, after = record_calls(subject, pair, pair.base), record_calls(subject, pair, pair.changed)
    if [c.name for c in before] != [c.name for c in after]:
        return None
    leaking = (one for one, two in zip(before, after, strict=True) if introduces_leak(one, two, pair, floor))
    return next((_location(one) for one in leaking), None)


def introduces_leak(one: ModuleCall, two: ModuleCall, pair: Pair, floor: float) -> bool | None:
    """Whether a module's outputs differ although its inputs agree; None if its inputs differ or cannot be aligned."""
    length = pair.base.shape[1]
    chunks = _chunks((*one.inputs, *one.outputs), length)
    if _differ(one.inputs, two.inputs, length, pair.must_agree, floor, chunks) is not False:
        return None
    return _differ(one.outputs, two.outputs, length, pair.must_agree, floor, chunks)


def record_calls(subject: Subject, pair: Pair, inputs: Tensor) -> list[ModuleCall]:
    """All module calls of one forward pass, in the order in which they return: children before parents."""
    calls: list[ModuleCall] = []
    handles = []

    def hook(name: str) -> Any:
        def record(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            caller = next(iter(user_frames()), None)
            inputs, outputs = (_of_row(each, pair) for each in ((args, kwargs), output))
            calls.append(ModuleCall(name, module, caller, inputs, outputs))

        return record

    for name, module in subject.parts.items():
        handles.append(module.register_forward_hook(hook(name), with_kwargs=True))
    try:
        subject.run(inputs, training=pair.training, extra_kwargs=pair.extra_kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _of_row(value: Any, pair: Pair) -> tuple[Tensor, ...]:
    """Copies of all tensors in a value; of those that hold the rows of a pair, of the compared row."""
    rows, own = len(pair.base), slice(pair.row, pair.row + 1)
    tensors = (t.detach().clone() for t in tensors_in(value))
    return tuple(t[own] if rows > 1 and t.ndim and len(t) == rows else t for t in tensors)


def _differ(
    one: tuple[Tensor, ...],
    two: tuple[Tensor, ...],
    length: int,
    span: tuple[int, int],
    floor: float,
    chunks: Chunks | None,
) -> bool | None:
    """True if a tensor differs within the span; None if one differs that cannot be aligned with the sequence."""
    verdict: bool | None = False
    for a, b in zip(one, two, strict=False):
        before, after = _aligned(a, length, span, chunks), _aligned(b, length, span, chunks)
        if a.shape != b.shape or before is None or after is None:
            if a.shape != b.shape or not torch.equal(a, b):
                verdict = None
            continue
        if before.numel() and float(max_abs_diff(before, after).max()) > floor:
            return True
    return verdict


@dataclass(frozen=True)
class Chunks:
    """How a module cuts the sequence: `count` chunks along `axis` of its tensors, of `size` tokens each."""

    axis: int
    count: int
    size: int


def _chunks(tensors: tuple[Tensor, ...], length: int) -> Chunks | None:
    """The chunks that the shape of some tensor of a call shows.

    Axes of chunks follow the batch or precede their tokens; other pairs that multiply to N are heads, hubs and widths.
    """
    for shape in (t.shape for t in tensors if length not in t.shape):
        for axis in _token_axes(shape)[:-1]:
            for other in _token_axes(shape)[axis + 1 :] if axis == 1 else (axis + 1,):
                count, size = shape[axis], shape[other]
                if count > 1 and size > 1 and (count - 1) * size < length <= count * size:
                    return Chunks(axis, count, size)
    return None


def _aligned(tensor: Tensor, length: int, span: tuple[int, int], chunks: Chunks | None) -> Tensor | None:
    """The part of a tensor that belongs to a span of positions, as [1, positions, rest]; None if that is unknown.

    Aligned along an axis of N, or along the chunks and their tokens, or along the chunks alone: a state for each chunk,
    which a causal module has ready before the chunk starts.
    """
    shape = tensor.shape
    for axis in sorted(range(len(shape)), key=lambda a: (a != 1, a)):
        if shape[axis] == length:
            return tensor.movedim(axis, 0).reshape(1, length, -1)[:, slice(*span)]
    if chunks is None or len(shape) <= chunks.axis or shape[chunks.axis] not in (chunks.count, chunks.count + 1):
        return None
    inside = [axis for axis in _token_axes(shape) if axis > chunks.axis and shape[axis] == chunks.size]
    if inside and shape[chunks.axis] == chunks.count:
        tokens = tensor.movedim((chunks.axis, inside[0]), (0, 1))
        return tokens.reshape(1, chunks.count * chunks.size, -1)[:, slice(*span)]
    first = span[0] and span[0] // chunks.size + 1  # the state before a document's first chunk is not its own
    return tensor.movedim(chunks.axis, 0).reshape(1, shape[chunks.axis], -1)[:, first : -(-span[1] // chunks.size)]


def _token_axes(shape: torch.Size) -> range:
    """Axes that may hold tokens: the last of four or more holds features."""
    return range(len(shape) - 1 if len(shape) >= 4 else len(shape))


def _location(call: ModuleCall) -> Location:
    kind = type(call.module)
    if kind.__module__.partition(".")[0] == "torch" and call.caller is not None:
        return Location(call.name, display_path(call.caller.file), call.caller.line)
    forward = inspect.unwrap(kind.forward)
    try:
        file, line = inspect.getsourcefile(forward), inspect.getsourcelines(forward)[1]
    except (OSError, TypeError):
        file, line = None, None
    return Location(call.name, display_path(file) if file else None, line)
