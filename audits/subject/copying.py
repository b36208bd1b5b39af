"""A copy of the model under audit, so that the model itself is never changed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from audits.subject.untouched import reaches_original

REGISTRIES = ("_parameters", "_buffers", "_modules")


def copy_of(model: Any, device: str, dtype: torch.dtype | None) -> tuple[Any, bool]:
    """A copy on the device and in the dtype, without gradients, and True; the model itself and False if that fails.

    Attributes that cannot be copied (locks, handles) are shared with the original.
    """
    copied = deep_copy(model) if isinstance(model, nn.Module) else None
    if copied is None:
        return model, False
    # nn.Module.to would cast complex tensors to real ones.
    copied._apply(lambda t: t.to(device, _cast(t, dtype)))
    for parameter in copied.parameters():  # TorchScript's modules have no requires_grad_, and copies with a graph
        parameter.requires_grad_(False) if parameter.is_leaf else parameter.detach_()
    return copied.eval(), True


def copied_weights(model: Any, copied: nn.Module) -> dict[int, Tensor]:
    """The weight of a model of which each of its copy's is one, by id; none where the copy reaches the model."""
    if reaches_original(model):
        return {}
    named = dict(model.named_parameters())
    return {id(weight): named[name] for name, weight in copied.named_parameters() if name in named}


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    """A tensor's new dtype: the wanted one for floats, its complex counterpart for complex numbers, else its own."""
    if dtype is None or not (tensor.is_floating_point() or tensor.is_complex()):
        return tensor.dtype
    if tensor.is_complex():
        return torch.complex128 if dtype == torch.float64 else torch.complex64
    return dtype


def deep_copy(model: nn.Module) -> nn.Module | None:
    """A copy with weights and buffers of its own; None where the model cannot be copied or would share them."""
    try:
        try:
            copied = copy.deepcopy(model)
        except Exception:
            copied = copy.deepcopy(model, _memo_of_uncopyable(model))
    except Exception:
        return None
    return None if _storages(copied) & _storages(model) else copied


def _storages(model: nn.Module) -> set[int]:
    """The addresses of all weights and buffers; those on the meta device have none."""
    tensors = (t for t in (*model.parameters(), *model.buffers()) if t.layout == torch.strided)
    return {address for t in tensors if (address := t.untyped_storage().data_ptr())}


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
