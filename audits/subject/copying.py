"""A copy of the model under audit, so that the model itself is never changed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

REGISTRIES = ("_parameters", "_buffers", "_modules")


def copy_of(model: Any, device: str, dtype: torch.dtype | None) -> tuple[Any, bool]:
    """A copy on the device and in the dtype, without gradients, and True; the model itself and False if that fails.

    Attributes that cannot be copied (locks, handles) are shared with the original.
    """
    if not isinstance(model, nn.Module):
        return model, False
    try:
        copied = _deepcopy(model)
    except Exception:
        return model, False
    # nn.Module.to would cast complex tensors to real ones.
    copied._apply(lambda t: t.to(device, _cast(t, dtype)))
    return copied.requires_grad_(False).eval(), True


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """A tensor's new dtype: the wanted one for floats, its complex counterpart for complex numbers, else its own."""
    if dtype is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.dtype
    if tensor.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype


def _deepcopy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception:
        return copy.deepcopy(model, _memo_of_uncopyable(model))


def _memo_of_uncopyable(model: nn.Module) -> dict[int, Any]:
    """A memo for deepcopy: uncopyable attributes as themselves; tensors inside a graph as plain values."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name not in REGISTRIES and not isinstance(value, nn.Module):
                memo |= _uncopyable(value)
    return memo


def _uncopyable(value: Any) -> dict[int, Any]:
    if isinstance(value, Tensor) and not value.is_leaf:
        return {id(value): value.detach().clone()}
    if isinstance(value, (list, tuple, dict)):
        items = value.values() if isinstance(value, dict) else value
        return {key: kept for item in items for key, kept in _uncopyable(item).items()}
    try:
        copy.deepcopy(value)
    except Exception:
        return {id(value): value}
    return {}
