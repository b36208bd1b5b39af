"""Arithmetic with fewer bits than its dtype holds: an effect of rounding grows or vanishes by that, a leak stays."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from audits.subject.operations import DispatchMode

INTEGERS = {torch.float64: torch.int64, torch.float32: torch.int32}  # half precision is coarse enough as it is
MANTISSA = {torch.float64: 52, torch.float32: 23}


class FewerBits(DispatchMode):
    """While active, every float32 or float64 result is rounded to a grid some bits coarser than its dtype's.

    Weights, tables and other tensors that a call does not make itself are rounded likewise, as the dtype in which they
    were made: a table keeps that rounding when it is cast. Equal values stay equal, no order is reversed, and values of
    few bits (zeros, ones, small integers) stay as they are, so that no mask, count or choice among equals changes.

    Args:
        fewer: how many bits.
        offset: where between two neighbours of the grid values start to be rounded up, from 0 (never) to below 1.
        origin: dtype in which the model was made; None where it is unknown.
    """

    def __init__(self, fewer: int, offset: float, origin: torch.dtype | None) -> None:
        super().__init__()
        self.fewer, self.offset, self.origin = fewer, offset, origin
        self.made: set[int] = set()  # storages that hold results

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation on arguments, and to a result, of fewer bits."""
        if func.is_view:
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            output = func(*args, **kwargs)
            given = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | kwargs
            for argument in func._schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    tree_map_only(Tensor, lambda t: t.copy_(self._result(t)), given.get(argument.name))
            return output
        args, kwargs = tree_map_only(Tensor, self._argument, (args, kwargs))
        return tree_map_only(Tensor, self._result, func(*args, **kwargs))

    def _argument(self, tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided or tensor.untyped_storage().data_ptr() in self.made:
            return tensor
        made_as = self.origin if self.origin in MANTISSA and tensor.dtype == torch.float64 else tensor.dtype
        return _rounded(tensor, MANTISSA.get(tensor.dtype, 0) - MANTISSA.get(made_as, 0) + self.fewer, self.offset)

    def _result(self, tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:
            return tensor
        rounded = _rounded(tensor, self.fewer, self.offset)
        self.made |= {tensor.untyped_storage().data_ptr(), rounded.untyped_storage().data_ptr()}
        return rounded


def _rounded(tensor: Tensor, bits: int, offset: float) -> Tensor:
    """The tensor with so many of its last bits zero."""
    if tensor.is_complex():
        return torch.view_as_complex(_rounded(torch.view_as_real(tensor), bits, offset))
    if tensor.dtype not in INTEGERS:
        return tensor
    step = 1 << bits
    rounded = ((tensor.view(INTEGERS[tensor.dtype]) + int(offset * step)) & -step).view(tensor.dtype)
    return torch.where(rounded.isfinite(), rounded, tensor)
