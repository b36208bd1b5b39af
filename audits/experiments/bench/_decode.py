"""Decode steps: a few tokens one after the other behind a prefix, always from the same state."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.mixers.attention import CausalAttention

TOKENS = 64  # decoded in a step: a whole chunk, so that its last token, which closes it, counts with its weight
PIECE = 1024  # tokens at a time while the state of the prefix is made

Decoded = Callable[[Tensor], Tensor]  # tokens [B, S, D] to the last one's output [B, 1, D]
Decoder = Callable[[nn.Module, Tensor], Decoded]  # of a layer and a prefix [B, N, D]


def streamed(module: nn.Module, prefix: Tensor) -> Decoded:
    """A layer of this project with a state of its own; the state after the prefix is never changed, only continued."""
    layer, state = cast("Any", module), None
    for piece in prefix.split(PIECE, dim=1):
        _, state = layer.stream(piece, state)

    def decode(tokens: Tensor) -> Tensor:
        output, at = tokens, state
        for token in tokens.split(1, dim=1):
            output, at = layer.stream(token, at)
        return output

    return decode


def streamed_from_a_short_prefix(module: nn.Module, prefix: Tensor) -> Decoded:
    """The same for a state whose size and cost cannot depend on the position: a shorter prefix gives as good a one."""
    return streamed(module, prefix[:, :PIECE])


def cached(module: nn.Module, prefix: Tensor) -> Decoded:
    """Attention with keys and values in tensors made large enough beforehand, so that no step copies them."""
    layer = cast("CausalAttention", module)
    batch, start, width = prefix.shape
    heads, total = layer.n_heads, start + TOKENS
    keys, values = (prefix.new_empty(batch, heads, total, width // heads).normal_() for _ in range(2))

    def decode(tokens: Tensor) -> Tensor:
        output = tokens
        for place, token in enumerate(tokens.split(1, dim=1), start):
            q, keys[:, :, place : place + 1], values[:, :, place : place + 1] = layer.heads(token, place)
            upto = place + 1
            mixed = F.scaled_dot_product_attention(q, keys[:, :, :upto], values[:, :, :upto])
            output = layer.output(mixed.transpose(1, 2).flatten(2))
        return output

    return decode


def with_fla_cache(module: nn.Module, prefix: Tensor) -> Decoded:
    """A layer of flash-linear-attention with its own cache, which grows in place from one call to the next."""
    cache = importlib.import_module("fla.models.utils").Cache()
    module.eval()
    with torch.no_grad():
        module(prefix, past_key_values=cache, use_cache=True)

    def decode(tokens: Tensor) -> Tensor:
        outputs = [module(token, past_key_values=cache, use_cache=True)[0] for token in tokens.split(1, dim=1)]
        return cast("Tensor", outputs[-1])

    return decode
