"""Where two calls part that ought to agree: operations are compared from the output backwards.

The walk begins at the last operation whose results differ and goes on to what its inputs were made by, as long as these
differ too. Operations of the two calls correspond if the same line of the same module called as many before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.instruments.source_lines import (
    Frame,
    innermost_module,
    last_of_each_line,
    own_frame,
    own_packages,
    user_frames,
)
from audits.instruments.tracing.rules import VIEWS, plain_name
from audits.instruments.tracing.rules_layout import MOVERS
from audits.instruments.tracing.taint_map import storage_key
from audits.results import TraceStep
from audits.subject.operations import DispatchMode, tensors_in
from audits.subject.subject import Subject

ROUNDINGS = 2.0**12  # differences allowed, in units of eps times the largest number of a tensor; our choice
HIDDEN = 1e4  # larger numbers stand for minus infinity, and say nothing of a tensor's size
# Of the sizes of two different axes: what corresponds, and whether that is all; None where it is unknown.
Sizes = Callable[[tuple[int, int]], tuple[slice, slice, bool] | None]


@dataclass(frozen=True)
class Operation:
    """One operation of a recorded call: copies of its tensors by the storages that held them.

    `frame` is the line of the model's own code, `frames` is the whole stack, helpers of other packages included.
    """

    name: str
    moves: bool
    frame: Frame | None
    frames: tuple[Frame, ...]
    module: str
    inputs: tuple[tuple[int, Tensor], ...]
    outputs: tuple[tuple[int, Tensor], ...]


class OperationLog(DispatchMode):
    """Records all operations of a model while it is active."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._packages = own_packages(subject.module)
        self._names = {id(module): name for name, module in subject.parts.items()}
        self._kept: list[Any] = []  # so that no storage's address is given to another

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run and record one operation."""
        inputs = _copies((args, kwargs))
        out = func(*args, **kwargs)
        self._kept.append((args, kwargs, out))
        name = plain_name(func)
        moves = func.is_view or name in VIEWS or name in MOVERS
        frames = user_frames()
        if frames:  # the others are the auditor's own, around a model under a contract
            own, module = own_frame(frames, self._packages), innermost_module(self._names)
            self.operations.append(Operation(name, moves, own, frames, module, inputs, _copies(out)))
        return out


@dataclass(frozen=True)
class Divergence:
    """The operation where two calls part, the subject's line that called it, its module, and the way to the output."""

    op: str
    frame: Frame | None
    module: str | None  # None where it is not known; "" is the whole model
    trace: tuple[TraceStep, ...]


def divergence(one: list[Operation], two: list[Operation], sizes: Sizes = lambda _: None) -> Divergence | None:
    """Where the second of two calls parts from the first; None where no results that correspond differ.

    `sizes` says which parts of two axes of different size correspond; what has axes it does not know is walked through.
    """
    others = dict(zip(_keys(one), one, strict=True))
    differ = [
        _differ(others[key].outputs, made.outputs, sizes) if key in others else None
        for key, made in zip(_keys(two), two, strict=True)
    ]
    for start in (n for n in reversed(range(len(two))) if differ[n]):
        way = _back(two, differ, start)
        named = next((n for n in reversed(way) if differ[n] and not two[n].moves), None)
        if named is not None:  # else only part of what is returned beside the output, as a cache of the end
            found = two[named]
            return Divergence(found.name, found.frame, found.module, _trace(two, way))
    return None


def _back(operations: list[Operation], differ: list[bool | None], start: int) -> list[int]:
    """The way back from an operation along what differs to the last that does, through what cannot be compared."""
    writers: dict[int, list[int]] = {}
    for n, each in enumerate(operations):
        for key in {key for key, _ in each.outputs}:
            writers.setdefault(key, []).append(n)
    way, left, seen = [start], [[start]], {start}
    while left:
        tried = left.pop()
        if differ[tried[-1]] and tried is not way and len(tried) > 1:
            way, left = tried, []  # what differs for certain is enough
        made = ([n for n in writers.get(key, ()) if n < tried[-1]] for key, _ in operations[tried[-1]].inputs)
        before = [n for n in dict.fromkeys(each[-1] for each in made if each) if n not in seen]
        chosen = [n for n in before if differ[n]][:1] or [n for n in before if differ[n] is None]
        seen.update(chosen)
        left += [[*tried, n] for n in reversed(chosen)]
    return way


def _keys(operations: list[Operation]) -> list[tuple[Any, ...]]:
    """What corresponding operations of two calls have in common: name, line, and how many were alike before."""
    seen: Counter[tuple[Any, ...]] = Counter()
    keys = []
    for each in operations:
        key = (each.name, each.module, each.frames[:1])
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys


def _differ(one: tuple[tuple[int, Tensor], ...], two: tuple[tuple[int, Tensor], ...], sizes: Sizes) -> bool | None:
    """Whether results differ in what corresponds; None where that is unknown."""
    found = [_differing(a, b, sizes) for (_, a), (_, b) in zip(one, two, strict=False)]
    return True if True in found else None if None in found else False


def _differing(a: Tensor, b: Tensor, sizes: Sizes) -> bool | None:
    if a.ndim != b.ndim:
        return None
    whole = True
    for axis, (m, n) in enumerate(zip(a.shape, b.shape, strict=True)):
        parts = (slice(None), slice(None), True) if m == n else sizes((m, n))
        if parts is None:
            return None
        a, b, whole = a.movedim(axis, 0)[parts[0]], b.movedim(axis, 0)[parts[1]], whole and parts[2]
        a, b = a.movedim(0, axis), b.movedim(0, axis)
    if a.shape != b.shape:
        return None
    return _apart(a, b) or (False if whole else None)


def _apart(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape differ by more than rounding."""
    if not (a.is_floating_point() or a.is_complex()):
        return not torch.equal(a, b)
    size = a.abs().masked_fill(a.abs() >= HIDDEN, 0).amax() if a.numel() else 0
    allowed = ROUNDINGS * torch.finfo(a.dtype).eps * size
    return not bool(((a == b) | ((a - b).abs() <= allowed) | (a.isnan() & b.isnan())).all())


def _trace(operations: list[Operation], way: list[int]) -> tuple[TraceStep, ...]:
    """The lines on the way, each with its last operation that does not only move elements."""
    made = (operations[n] for n in reversed(way))
    steps = (TraceStep(each.name, *each.frames[0].place) for each in made if not each.moves)
    return (*last_of_each_line(steps), TraceStep("output"))


def _copies(value: Any) -> tuple[tuple[int, Tensor], ...]:
    return tuple((storage_key(tensor), tensor.detach().clone()) for tensor in tensors_in(value))
