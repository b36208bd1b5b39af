"""Saves everything a forward pass could change in a model, and restores it."""

from __future__ import annotations

import random
import types
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.randomness import numpy_generators

MAX_OBJECTS = 20_000  # visited from one model; our choice, far more than models hold
MAX_COMPARED = 2**20  # elements up to which values are compared; writes through `.data` leave version counters alone
_OPAQUE = (type, types.ModuleType, types.BuiltinFunctionType, torch.Size, torch.device, torch.dtype, str, bytes)
_CONTAINERS = (dict, list, set, deque, bytearray)


@dataclass
class _SavedTensor:
    """A tensor, its version counter and dtype, and its value: a copy, or another tensor that stays equal to it."""

    tensor: Tensor
    version: int
    dtype: torch.dtype
    value: Tensor


class Snapshot:
    """What is reachable from a model at one moment: modules, attributes, containers, tensors, generators, closures.

    Everything is restored in place and only where it changed, so restoring an unchanged model costs little. State that
    is not reachable from the model (globals, class attributes) is out of reach; the repeat-call probe looks for it.

    Args:
        model: what is saved.
        copied_from: the tensor of which a large one is a cast copy, by its id: its value need not be kept twice.
    """

    def __init__(self, model: Any, copied_from: Mapping[int, Tensor] = MappingProxyType({})) -> None:
        self._copied_from = copied_from
        self._tensors: list[_SavedTensor] = []
        self._containers: list[tuple[Any, Any]] = []  # and shallow copies of what they held
        self._generators: list[Callable[[], object]] = []  # that restore one each
        self._walk(model)

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the model to its state at the time of the snapshot."""
        for live, saved in self._containers:
            if not _unchanged(live, saved):
                _restore_container(live, saved)
        for tensor in self._tensors:
            _restore_tensor(tensor)
        self.restore_generators()

    def restore_generators(self) -> None:
        """Restore only the model's own random generators: drawing random numbers is not state that carries over."""
        for restore in self._generators:
            restore()

    def _walk(self, model: Any) -> None:
        seen: set[int] = set()
        queue = [model]
        while queue and len(seen) < MAX_OBJECTS:
            item = queue.pop()
            if id(item) in seen or item is None or isinstance(item, (*_OPAQUE, bool, int, float, complex)):
                continue
            seen.add(id(item))
            queue += self._save(item)

    def _save(self, item: Any) -> list[Any]:
        """Save what `item` holds; returns the objects it refers to."""
        if isinstance(item, Tensor):
            kept = self._copied_from.get(id(item)) if item.numel() > MAX_COMPARED else None
            value = item.detach().clone() if kept is None else kept.detach()
            self._tensors.append(_SavedTensor(item, _version(item), item.dtype, value))
            return []
        if isinstance(item, (torch.Generator, random.Random, *numpy_generators())):
            self._generators.append(_restorer(item))
            return []
        if isinstance(item, _CONTAINERS):
            return self._save_container(item)
        if isinstance(item, (tuple, frozenset)):
            return list(item)
        if isinstance(item, types.FunctionType):
            return [cell.cell_contents for cell in item.__closure__ or () if not _is_empty(cell)]
        if isinstance(item, types.MethodType):
            return [item.__self__, item.__func__]
        attributes = getattr(item, "__dict__", None)
        return [attributes] if isinstance(attributes, dict) and _belongs_to_model(item) else []

    def _save_container(self, item: Any) -> list[Any]:
        saved = item.copy()
        self._containers.append((item, saved))
        if isinstance(item, dict):
            # Hooks are added and removed by the instruments; they are not the subject's state.
            return [value for name, value in saved.items() if not _holds_hooks(name)]
        return [] if isinstance(item, bytearray) else list(saved)


def _belongs_to_model(item: Any) -> bool:
    """Whether an object's attributes belong to the model: of torch's own objects only those of modules do."""
    package = type(item).__module__.partition(".")[0]
    return isinstance(item, nn.Module) or package not in {"torch", "threading", "logging", "functools", "_thread"}


def _holds_hooks(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and "_hooks" in name


def _is_empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _unchanged(live: Any, saved: Any) -> bool:
    """Whether a container still holds the very same objects (equal bytes, for a bytearray)."""
    if isinstance(live, bytearray):
        return bool(live == saved)
    if len(live) != len(saved):
        return False
    if isinstance(live, dict):
        return all(key in live and (live[key] is value or _holds_hooks(key)) for key, value in saved.items())
    if isinstance(live, set):
        return {id(item) for item in live} == {id(item) for item in saved}
    return all(a is b for a, b in zip(live, saved, strict=True))


def _restore_container(live: Any, saved: Any) -> None:
    """Restore the contents of a container, in place."""
    if isinstance(live, dict):
        saved = saved | {name: value for name, value in live.items() if _holds_hooks(name)}
    live.clear()
    (live.extend if isinstance(live, (list, deque, bytearray)) else live.update)(saved)


def _restore_tensor(saved: _SavedTensor) -> None:
    live = saved.tensor
    if live.shape != saved.value.shape or live.dtype != saved.dtype:
        live.data = saved.value.to(live.device, saved.dtype, copy=True)
    elif _version(live) != saved.version or (_comparable(live) and not torch.equal(live, saved.value)):
        live.copy_(saved.value)
    saved.version = _version(live)


def _version(tensor: Tensor) -> int:
    """The version counter; tensors made in inference mode have none."""
    return 0 if tensor.is_inference() else tensor._version


def _comparable(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type != "meta" and tensor.numel() <= MAX_COMPARED


def _restorer(generator: Any) -> Callable[[], object]:
    """What restores the state that a random generator has now."""
    for read, write in (("get_state", "set_state"), ("getstate", "setstate")):  # torch and older numpy; Python
        if hasattr(generator, read):
            return partial(getattr(generator, write), getattr(generator, read)())
    return partial(setattr, generator.bit_generator, "state", generator.bit_generator.state)
