"""Finds the module where the future first gets in: its inputs agree before the cut, its outputs do not."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audits.precision import gap
from audits.probe import Pair, Sighting
from audits.subject import Subject


@dataclass(frozen=True)
class Place:
    """A module of the subject and the source lines of its forward method."""

    module: str
    kind: str
    file: str | None
    line: int | None


@dataclass(frozen=True)
class Call:
    """One call of a module: copies of the tensors that went in and came out."""

    name: str
    module: nn.Module
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
    """The innermost, earliest module that turns inputs equal before the cut into outputs that are not.

    None where the subject is no module or its call order depends on the data. A module all of whose inputs can be laid
    along the sequence is preferred; where other inputs differ (states a chunk, say) the blame goes to the parent.
    """
    if subject.module is None:
        return None
    before, after = _record(subject, pair.base, pair.training), _record(subject, pair.changed, pair.training)
    if [c.name for c in before] != [c.name for c in after]:
        return None
    length = pair.base.shape[1]
    for one, two in zip(before, after, strict=True):
        moved = _moved(one.outputs, two.outputs, length, pair.cut, floor)
        if moved is True and _moved(one.inputs, two.inputs, length, pair.cut, floor) is False:
            return _place(one)
    return None


def _record(subject: Subject, inputs: Tensor, training: bool) -> list[Call]:
    """All module calls of one forward pass, in the order in which they return: children before parents."""
    calls: list[Call] = []
    handles = []

    def hook(name: str) -> Any:
        def keep(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.append(Call(name, module, _tensors((args, kwargs)), _tensors(output)))

        return keep

    for name, module in subject.module.named_modules() if subject.module is not None else ():
        handles.append(module.register_forward_hook(hook(name), with_kwargs=True))
    try:
        with torch.compiler.set_stance("force_eager"):  # compiled modules call no hooks
            subject.run(inputs, training=training)
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


def _moved(one: tuple[Tensor, ...], two: tuple[Tensor, ...], length: int, cut: int, floor: float) -> bool | None:
    """True if a tensor differs before the cut; None if one differs that cannot be laid along the sequence."""
    verdict: bool | None = False
    for a, b in zip(one, two, strict=False):
        along = None if a.shape != b.shape else (_along(a, length), _along(b, length))
        if along is None or along[0] is None or along[1] is None:
            if a.shape != b.shape or not torch.equal(a, b):
                verdict = None
            continue
        if float(gap(along[0], along[1])[0, :cut].max()) > floor:
            return True
    return verdict


def _along(tensor: Tensor, length: int) -> Tensor | None:
    """The tensor as [1, N, rest]: along an axis of N, or two axes that chunk N (the last chunk padded).

    Chunks stand next to the batch or next to their tokens; other pairs that multiply to N are heads and widths.
    """
    shape = tensor.shape
    for axis in sorted(range(len(shape)), key=lambda a: (a != 1, a)):
        if shape[axis] == length:
            return tensor.movedim(axis, 0).reshape(1, length, -1)
    for axis in range(len(shape) - 1):
        for other in range(axis + 1, len(shape) if axis == 1 else axis + 2):
            chunks, size = shape[axis], shape[other]
            if chunks > 1 and size > 1 and (chunks - 1) * size < length <= chunks * size:
                moved = tensor.movedim((axis, other), (0, 1)).reshape(1, chunks * size, -1)
                return moved[:, :length]
    return None


def _place(call: Call) -> Place:
    kind = type(call.module)
    forward = inspect.unwrap(kind.forward)
    try:
        file, line = inspect.getsourcefile(forward), inspect.getsourcelines(forward)[1]
    except (OSError, TypeError):
        file, line = None, None
    inside = file and os.path.commonpath([os.path.abspath(file), os.getcwd()]) == os.getcwd()  # noqa: PTH100, PTH109
    return Place(call.name, kind.__name__, os.path.relpath(file) if file and inside else file, line)
