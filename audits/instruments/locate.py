"""Finds the module where a leak first gets in: where they must agree, its inputs do and its outputs do not."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audits.instruments.noise_floor import gap
from audits.instruments.probe import Pair, Sighting
from audits.instruments.source_lines import Frame, shown, user_frames
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Place:
    """A module of the subject and the source lines of its forward method; of a module of torch, of its call."""

    module: str
    kind: str
    file: str | None
    line: int | None


@dataclass(frozen=True)
class Call:
    """One call of a module: copies of the tensors that went in and came out, and the subject's line that made it."""

    name: str
    module: nn.Module
    caller: Frame | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def find_place(subject: Subject, sighting: Sighting) -> Place | None:
    """Where a sighting comes from; None where it has no pair of inputs, or nothing can be found out."""
    if sighting.pair is None:
        return None
    try:
        return locate(subject, sighting.pair, sighting.noise_floor)
    except Exception:
        return None


def locate(subject: Subject, pair: Pair, floor: float) -> Place | None:
    """The innermost, earliest module that turns inputs that agree (before the cut, as a rule) into outputs that do not.

    None where the subject is no module or its call order depends on the data. A module all of whose inputs can be laid
    along the sequence is preferred; where other inputs differ (states a chunk, say) the blame goes to the parent.
    """
    if subject.module is None:
        return None
    before, after = record(subject, pair, pair.base), record(subject, pair, pair.changed)
    if [c.name for c in before] != [c.name for c in after]:
        return None
    crossing = (one for one, two in zip(before, after, strict=True) if crossed(one, two, pair, floor))
    return next((_place(one) for one in crossing), None)


def crossed(one: Call, two: Call, pair: Pair, floor: float) -> bool | None:
    """Whether a module let a leak in between two calls; None where its own inputs differ already, or cannot be told."""
    length = pair.base.shape[1]
    chunks = _chunks((*one.inputs, *one.outputs), length)
    if _moved(one.inputs, two.inputs, length, pair.still, floor, chunks) is not False:
        return None
    return _moved(one.outputs, two.outputs, length, pair.still, floor, chunks)


def record(subject: Subject, pair: Pair, inputs: Tensor) -> list[Call]:
    """All module calls of one forward pass, in the order in which they return: children before parents."""
    calls: list[Call] = []
    handles = []

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            caller = next(iter(user_frames()), None)
            calls.append(Call(name, module, caller, _tensors((args, kwargs)), _tensors(output)))

        return keep

    for name, module in subject.module.named_modules() if subject.module is not None else ():
        handles.append(module.register_forward_hook(hook(name), with_kwargs=True))
    try:
        subject.run(inputs, training=pair.training, told=pair.told)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(value: Any) -> tuple[Tensor, ...]:
    """Copies of all tensors in nested tuples, lists, dicts and plain objects."""
    if isinstance(value, Tensor):
        return (value.detach().clone(),)
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return tuple(t for item in value for t in _tensors(item))
    return ()


def _moved(
    one: tuple[Tensor, ...],
    two: tuple[Tensor, ...],
    length: int,
    still: tuple[int, int],
    floor: float,
    chunks: Chunks | None,
) -> bool | None:
    """True if a tensor differs where it must not; None if one differs that cannot be laid along the sequence."""
    verdict: bool | None = False
    for a, b in zip(one, two, strict=False):
        before, after = _laid(a, length, still, chunks), _laid(b, length, still, chunks)
        if a.shape != b.shape or before is None or after is None:
            if a.shape != b.shape or not torch.equal(a, b):
                verdict = None
            continue
        if before.numel() and float(gap(before, after).max()) > floor:
            return True
    return verdict


@dataclass(frozen=True)
class Chunks:
    """How a module cuts the sequence: `count` chunks along `axis` of its tensors, of `size` tokens each."""

    axis: int
    count: int
    size: int


def _chunks(tensors: tuple[Tensor, ...], length: int) -> Chunks | None:
    """The chunks that some tensor of a call shows.

    Chunks stand next to the batch or next to their tokens; other pairs that multiply to N are heads, hubs and widths.
    """
    for shape in (t.shape for t in tensors if length not in t.shape):
        for axis in _token_axes(shape)[:-1]:
            for other in _token_axes(shape)[axis + 1 :] if axis == 1 else (axis + 1,):
                count, size = shape[axis], shape[other]
                if count > 1 and size > 1 and (count - 1) * size < length <= count * size:
                    return Chunks(axis, count, size)
    return None


def _laid(tensor: Tensor, length: int, still: tuple[int, int], chunks: Chunks | None) -> Tensor | None:
    """What of a tensor belongs to some positions, as [1, positions, rest]; None if that cannot be told.

    Laid along an axis of N, or along the chunks and their tokens, or along the chunks alone: a state for each chunk,
    which a causal module has ready before the chunk starts.
    """
    shape = tensor.shape
    for axis in sorted(range(len(shape)), key=lambda a: (a != 1, a)):
        if shape[axis] == length:
            return tensor.movedim(axis, 0).reshape(1, length, -1)[:, slice(*still)]
    if chunks is None or len(shape) <= chunks.axis or shape[chunks.axis] not in (chunks.count, chunks.count + 1):
        return None
    inside = [axis for axis in _token_axes(shape) if axis > chunks.axis and shape[axis] == chunks.size]
    if inside and shape[chunks.axis] == chunks.count:
        laid = tensor.movedim((chunks.axis, inside[0]), (0, 1))
        return laid.reshape(1, chunks.count * chunks.size, -1)[:, slice(*still)]
    first = still[0] and still[0] // chunks.size + 1  # the state before a document's first chunk is not its own
    return tensor.movedim(chunks.axis, 0).reshape(1, shape[chunks.axis], -1)[:, first : -(-still[1] // chunks.size)]


def _token_axes(shape: torch.Size) -> range:
    """Axes that may hold tokens: the last of four or more holds features."""
    return range(len(shape) - 1 if len(shape) >= 4 else len(shape))


def _place(call: Call) -> Place:
    kind = type(call.module)
    if kind.__module__.partition(".")[0] == "torch" and call.caller is not None:
        return Place(call.name, kind.__name__, shown(call.caller.file), call.caller.line)
    forward = inspect.unwrap(kind.forward)
    try:
        file, line = inspect.getsourcefile(forward), inspect.getsourcelines(forward)[1]
    except (OSError, TypeError):
        file, line = None, None
    return Place(call.name, kind.__name__, shown(file) if file else None, line)
