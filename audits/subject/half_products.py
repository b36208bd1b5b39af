"""Matrix products of half precision by float32: a CPU without instructions for them takes fifty times as long."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from audits.subject.operations import DispatchMode

HALF = (torch.bfloat16, torch.float16)
PRODUCTS = (
    *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "convolution"),
    *("_scaled_dot_product_flash_attention_for_cpu", "_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
)


class HalfProducts(DispatchMode):
    """While active, products of half precision on a CPU are computed in float32 and rounded once, as GPUs do it."""

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation."""
        dtype = args[0].dtype if func.__name__.partition(".")[0] in PRODUCTS else None
        if dtype not in HALF or not args[0].is_cpu:
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, lambda tensor: _cast(tensor, dtype, torch.float32), (args, kwargs))
        output = func(*args, **kwargs)
        # Attention returns sums in float32 too, which its backward pass takes.
        first, *rest = output if isinstance(output, tuple) else (output,)
        first = _cast(first, torch.float32, dtype)
        return (first, *rest) if rest else first


def _cast(tensor: Tensor, before: torch.dtype, after: torch.dtype) -> Tensor:
    with _disable_current_modes():  # the casts are no operations of the model
        return tensor.to(after) if tensor.dtype == before else tensor
