"""Finds the module where a leak enters: where they must agree, its inputs do and its outputs do not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audits.instruments.noise_floor import max_abs_diff
from audits.instruments.probe import Pair, Violation
from audits.instruments.source_lines import Frame, display_path, user_frame
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
    """The innermost, earliest module that turns inputs that agree (before the cut, as a rule) into outputs that do not.

    None where the violation has no pair of inputs, the subject is no module or its call order depends on the data. A
    module all of whose inputs can be aligned with the sequence is preferred; where other inputs differ (one state for
    each chunk, for example) its parent is tried instead.
    """
    pair, floor = violation.pair, violation.noise_floor
    if pair is None:
        return None
    try:
        calls = module_calls(subject, pair)
        return next((_location(one) for one, two in calls if introduces_leak(one, two, pair, floor)), None)
    except Exception:
        return None


def introduces_leak(one: ModuleCall, two: ModuleCall, pair: Pair, floor: float) -> bool | None:
    """Whether a module's outputs differ although its inputs agree; None if its inputs differ or cannot be aligned."""
    length = pair.base.shape[1]
    chunks = _chunks((*one.inputs, *one.outputs), length)
    aligned = partial(_aligned, length=length, span=pair.must_agree, chunks=chunks)
    if _differ(one.inputs, two.inputs, aligned, floor) is not False:
        return None
    return _differ(one.outputs, two.outputs, aligned, floor)


def module_calls(subject: Subject, pair: Pair) -> list[tuple[ModuleCall, ModuleCall]]:
    """The module calls of both inputs, in the order in which they return: children before parents.

    Empty where that order differs, or the subject is no module.
    """
    before, after = _record_calls(subject, pair, pair.base), _record_calls(subject, pair, pair.changed)
    alike = [call.name for call in before] == [call.name for call in after]
    return list(zip(before, after, strict=True)) if alike else []


def _record_calls(subject: Subject, pair: Pair, inputs: Tensor) -> list[ModuleCall]:
    calls: list[ModuleCall] = []

    def record(name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls.append(ModuleCall(name, module, user_frame(), _of_row((args, kwargs), pair), _of_row(output, pair)))

    with ExitStack() as hooks:
        for name, module in subject.parts.items():
            hooks.enter_context(module.register_forward_hook(partial(record, name), with_kwargs=True))
        subject.run(inputs, training=pair.training, extra_kwargs=pair.extra_kwargs)
    return calls


def _of_row(value: Any, pair: Pair) -> tuple[Tensor, ...]:
    """Copies of all tensors in a value; of those that hold the rows of a pair, of the compared row."""
    rows, own = len(pair.base), slice(pair.row, pair.row + 1)
    tensors = (t.detach().clone() for t in tensors_in(value))
    return tuple(t[own] if rows > 1 and t.ndim and len(t) == rows else t for t in tensors)


def _differ(
    one: tuple[Tensor, ...], two: tuple[Tensor, ...], aligned: Callable[[Tensor], Tensor | None], floor: float
) -> bool | None:
    """True if a tensor differs where it is aligned; None if one differs that cannot be aligned with the sequence."""
    verdict: bool | None = False
    for a, b in zip(one, two, strict=False):
        before, after = aligned(a), aligned(b)
        if a.shape != b.shape or before is None or after is None:
            verdict = verdict if a.shape == b.shape and torch.equal(a, b) else None
        elif before.numel() and float(max_abs_diff(before, after).max()) > floor:
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
        return Location(call.name, *call.caller.place)
    forward = inspect.unwrap(kind.forward)
    try:
        file, line = inspect.getsourcefile(forward), inspect.getsourcelines(forward)[1]
    except (OSError, TypeError):
        file, line = None, None
    return Location(call.name, display_path(file) if file else None, line)
