"""Arithmetic in float64 throughout, for models that cast to coarser dtypes: what vanishes then was rounding.

A model may branch on the dtype of what it is given. With `SpoofDtype` float64 tensors report another dtype, so that
the path of that dtype is computed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

COARSE = (torch.float32, torch.float16, torch.bfloat16)
CASTS = {Tensor.float, Tensor.half, Tensor.bfloat16}
CASTS_TO = {Tensor.to, Tensor.type, Tensor.type_as}  # another tensor's dtype, or a dtype by name
GROUPED_MM = getattr(torch, "_grouped_mm", None)  # of mixtures of experts; has no float64 kernel
GET_DTYPE = Tensor.dtype.__get__  # type: ignore[attr-defined] # what `tensor.dtype` calls


@contextmanager
def force_float64() -> Iterator[None]:
    """While active, floats are float64, whatever dtype the model asks for."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _ForceFloat64():
            yield
    finally:
        torch.set_default_dtype(before)


class _ForceFloat64(TorchFunctionMode):
    """Replaces coarser floating dtypes in arguments by float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CASTS or (func in CASTS_TO and any(_is_coarse(a) for a in (*args[1:], *(kwargs or {}).values()))):
            return args[0].double()
        args = tuple(_finest(a) for a in args)
        kwargs = {name: _finest(a) for name, a in (kwargs or {}).items()}
        if func is GROUPED_MM and args[0].dtype == torch.float64:
            return _grouped_mm(*args, **kwargs)
        return func(*args, **kwargs)


def _is_coarse(argument: Any) -> bool:
    """Whether it is a coarser tensor, or the old name of a tensor's type (`torch.BFloat16Tensor`)."""
    if isinstance(argument, str):
        return argument.endswith(("FloatTensor", "HalfTensor", "BFloat16Tensor"))
    return isinstance(argument, Tensor) and GET_DTYPE(argument) in COARSE


def _finest(argument: Any) -> Any:
    return torch.float64 if isinstance(argument, torch.dtype) and argument in COARSE else argument


def _grouped_mm(a: Tensor, b: Tensor, offs: Tensor, bias: None = None, out_dtype: torch.dtype | None = None) -> Tensor:
    """Rows a[offs[e-1]:offs[e]] [T, I] times b[e] [E, I, O], as [T, O]; rows of no group are zero."""
    if bias is not None or out_dtype not in (None, torch.float64) or a.ndim != 2 or b.ndim != 3:
        raise NotImplementedError("only grouped rows times a stack of matrices")
    output = a.new_zeros(len(a), b.shape[-1])
    start = 0
    for expert, stop in enumerate(offs.tolist()):
        output[start:stop] = a[start:stop] @ b[expert]
        start = stop
    return output


class SpoofDtype(TorchFunctionMode):
    """While active, float64 tensors report another dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return self.dtype if func == GET_DTYPE and result == torch.float64 else result
