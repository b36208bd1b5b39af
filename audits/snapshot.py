"""Remembers everything a forward pass could change in a module, and puts it back."""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

_BOOKKEEPING = ("_parameters", "_buffers", "_modules")
_CONTAINERS = (list, dict, set, deque, bytearray, Tensor)


class Snapshot:
    """The buffers, modes and plain attributes of a module and its children at one moment.

    Parameters are compared by version counter and copied back only where a forward pass wrote to them. Attributes that
    hold other objects (configurations, locks) are put back by reference.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tensors = [(t, t._version, t.detach().clone()) for t in (*module.buffers(), *module.parameters())]
        self._modules = [(m, dict(m._buffers), dict(m._parameters), _attributes(m)) for m in module.modules()]

    @torch.no_grad()
    def restore(self) -> None:
        """Make the module what it was."""
        for module, buffers, parameters, attributes in self._modules:
            _replace(module._buffers, buffers)
            _replace(module._parameters, parameters)
            for name in [n for n in module.__dict__ if n not in attributes and not _internal(n)]:
                del module.__dict__[name]
            for name, value in attributes.items():
                module.__dict__[name] = copy.deepcopy(value) if isinstance(value, _CONTAINERS) else value
        for index, (tensor, version, value) in enumerate(self._tensors):
            if tensor._version != version:
                tensor.copy_(value)
                self._tensors[index] = (tensor, tensor._version, value)


def _internal(name: str) -> bool:
    """Torch's own bookkeeping, hooks included: not the subject's state."""
    return name in _BOOKKEEPING or name.endswith("_hooks") or "_hooks_" in name


def _attributes(module: nn.Module) -> dict[str, Any]:
    kept = {}
    for name, value in module.__dict__.items():
        if not _internal(name):
            kept[name] = copy.deepcopy(value) if isinstance(value, _CONTAINERS) else value
    return kept


def _replace(live: dict[str, Any], saved: dict[str, Any]) -> None:
    """Make `live` equal to `saved` in place, touching it only where something changed."""
    if live.keys() != saved.keys() or any(live[name] is not saved[name] for name in saved):
        live.clear()
        live.update(saved)
