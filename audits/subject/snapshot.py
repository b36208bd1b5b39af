"""Remembers everything a forward pass could change in a model, and puts it back."""

from __future__ import annotations

import random
import types
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.randomness import numpy_generators

MOST_OBJECTS = 20_000  # followed from one model; our choice, far above what models hold
SMALL = 2**20  # elements up to which values are compared; writes through `.data` leave version counters alone
_OPAQUE = (type, types.ModuleType, types.BuiltinFunctionType, torch.Size, torch.device, torch.dtype, str, bytes)
_CONTAINERS = (dict, list, set, deque, bytearray)


@dataclass
class _Kept:
    """A tensor, its version counter and a copy of its value."""

    tensor: Tensor
    version: int
    value: Tensor


@dataclass(frozen=True)
class _Content:
    """A container and a shallow copy of what it held."""

    live: Any
    saved: Any


class Snapshot:
    """What is reachable from a model at one moment: modules, attributes, containers, tensors, generators, closures.

    Everything is put back in place and only where it changed, so restoring an untouched model costs little. State that
    is not reachable from the model (globals, class attributes) is out of reach; the repeat-call probe looks for it.
    """

    def __init__(self, model: Any) -> None:
        self._tensors: list[_Kept] = []
        self._contents: list[_Content] = []
        self._generators: list[tuple[Any, Any]] = []
        self._walk(model)

    @torch.no_grad()
    def restore(self) -> None:
        """Make the model what it was."""
        for content in self._contents:
            if not _same(content.live, content.saved):
                _put_back(content.live, content.saved)
        for kept in self._tensors:
            _restore_tensor(kept)
        self.rewind()

    def rewind(self) -> None:
        """Put only the model's own random generators back: drawing is not remembering."""
        for owner, state in self._generators:
            _set_state(owner, state)

    def _walk(self, model: Any) -> None:
        seen: set[int] = set()
        waiting = [model]
        while waiting and len(seen) < MOST_OBJECTS:
            found = waiting.pop()
            if id(found) in seen or found is None or isinstance(found, (*_OPAQUE, bool, int, float, complex)):
                continue
            seen.add(id(found))
            waiting += self._remember(found)

    def _remember(self, found: Any) -> list[Any]:
        """Keep what `found` holds; returns what it leads to."""
        if isinstance(found, Tensor):
            self._tensors.append(_Kept(found, _version(found), found.detach().clone()))
            return []
        if isinstance(found, (torch.Generator, random.Random, *numpy_generators())):
            self._generators.append((found, _state(found)))
            return []
        if isinstance(found, _CONTAINERS):
            return self._remember_container(found)
        if isinstance(found, (tuple, frozenset)):
            return list(found)
        if isinstance(found, types.FunctionType):
            return [cell.cell_contents for cell in found.__closure__ or () if not _empty(cell)]
        if isinstance(found, types.MethodType):
            return [found.__self__, found.__func__]
        inside = getattr(found, "__dict__", None)
        return [inside] if isinstance(inside, dict) and _followed(found) else []

    def _remember_container(self, found: Any) -> list[Any]:
        saved = found.copy()
        self._contents.append(_Content(found, saved))
        if isinstance(found, dict):
            # Hooks come and go with the instruments; they are not the subject's state.
            return [value for name, value in saved.items() if not _hooks(name)]
        return [] if isinstance(found, bytearray) else list(saved)


def _followed(found: Any) -> bool:
    """Whether an object's attributes belong to the model: torch's own machinery does not, its modules do."""
    home = type(found).__module__.partition(".")[0]
    return isinstance(found, nn.Module) or home not in {"torch", "threading", "logging", "functools", "_thread"}


def _hooks(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and "_hooks" in name


def _empty(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _same(live: Any, saved: Any) -> bool:
    """Whether a container still holds the very same objects (equal bytes, for a bytearray)."""
    if isinstance(live, bytearray):
        return bool(live == saved)
    if len(live) != len(saved):
        return False
    if isinstance(live, dict):
        return all(key in live and (live[key] is value or _hooks(key)) for key, value in saved.items())
    if isinstance(live, set):
        return {id(item) for item in live} == {id(item) for item in saved}
    return all(a is b for a, b in zip(live, saved, strict=True))


def _put_back(live: Any, saved: Any) -> None:
    """Make a container hold what it held, in place."""
    if isinstance(live, dict):
        saved = saved | {name: value for name, value in live.items() if _hooks(name)}
    live.clear()
    (live.extend if isinstance(live, (list, deque, bytearray)) else live.update)(saved)


def _restore_tensor(kept: _Kept) -> None:
    live = kept.tensor
    if live.shape != kept.value.shape or live.dtype != kept.value.dtype:
        live.data = kept.value.clone()
    elif _version(live) != kept.version or (_comparable(live) and not torch.equal(live, kept.value)):
        live.copy_(kept.value)
    kept.version = _version(live)


def _version(tensor: Tensor) -> int:
    """The version counter; tensors made in inference mode have none."""
    return 0 if tensor.is_inference() else tensor._version


def _comparable(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type != "meta" and tensor.numel() <= SMALL


def _state(owner: Any) -> Any:
    if isinstance(owner, torch.Generator):
        return owner.get_state()
    if isinstance(owner, random.Random):
        return owner.getstate()
    return owner.get_state() if hasattr(owner, "get_state") else owner.bit_generator.state


def _set_state(owner: Any, state: Any) -> None:
    if isinstance(owner, torch.Generator):
        owner.set_state(state)
    elif isinstance(owner, random.Random):
        owner.setstate(state)
    elif hasattr(owner, "set_state"):
        owner.set_state(state)
    else:
        owner.bit_generator.state = state
