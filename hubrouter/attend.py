"""Softmax attention of the council: torch's fused kernel, or two matrix products where those are faster."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hubrouter.shapes import Bool, Float

BY_PRODUCTS = (torch.bfloat16, torch.float16)  # on a CPU: there the fused kernel takes four times as long


def attend(
    q: Float[Tensor, "R H L E"],
    k: Float[Tensor, "R H T E"],
    v: Float[Tensor, "R H T E"],
    allowed: Bool[Tensor, "R 1 L T"],
) -> Float[Tensor, "R H L E"]:
    """Attention of each query to the tokens it is allowed to read; a query without any gets zeros.

    Differentiable once: torch's fused kernels are no more than that.
    """
    if q.device.type == "cpu" and q.dtype in BY_PRODUCTS:
        return cast("Tensor", cast("Any", _ByProducts).apply(q, k, v, allowed))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


class _ByProducts(torch.autograd.Function):
    """Batched products, whose weights [R, H, L, T] are kept: O(N (K + C) H) numbers."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
        """Weights of tokens that may not be read are exactly 0, and so are their gradients."""
        logits = _product(q * q.shape[-1] ** -0.5, k.mT)
        weight = logits.masked_fill_(~allowed, torch.finfo(q.dtype).min).softmax(-1).masked_fill_(~allowed, 0)
        ctx.save_for_backward(q, k, v, weight)
        return _product(weight, v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Of queries, keys and values."""
        q, k, v, weight = ctx.saved_tensors
        d_weight = _product(d_out, v.mT)
        d_logits = torch.ops.aten._softmax_backward_data(d_weight, weight, -1, weight.dtype) * q.shape[-1] ** -0.5
        return _product(d_logits, k), _product(d_logits.mT, q), _product(weight.mT, d_out), None


def _product(a: Tensor, b: Tensor) -> Tensor:
    """One matrix product for each row and head."""
    product: Tensor = torch.bmm(a.flatten(0, 1), b.flatten(0, 1)).unflatten(0, a.shape[:2])
    return product
