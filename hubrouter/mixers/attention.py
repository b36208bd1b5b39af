"""`A`: causal multi-head attention with rotary embedding, the baseline mixer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.mixers._heads import RotaryHeads
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

LETTER = "A"


class KeyValueCache(NamedTuple):
    """Rotated keys and values of all tokens seen, [B, H, N, E]."""

    k: Tensor
    v: Tensor


class CausalAttention(RotaryHeads):
    """Softmax attention over all positions up to the query's; O(N^2 D)."""

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Attend causally; `valid` is True where a token is real, and outputs at padding are zero."""
        q, k, v = self.heads(zeroed(x, valid), 0)
        if valid is None:
            return self._merge(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        # A query at padding attends to itself, so that no row of the softmax is empty.
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        mask = (causal & valid[:, None, :] | itself)[:, None]
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)) * valid[..., None]

    def stream(
        self, x: Float[Tensor, "B N D"], state: KeyValueCache | None = None
    ) -> tuple[Float[Tensor, "B N D"], KeyValueCache]:
        """Attend from the next N tokens to themselves and all before; the cache grows with the sequence."""
        past = 0 if state is None else state.k.shape[2]
        q, k, v = self.heads(x, past)
        if state is not None:
            k, v = torch.cat([state.k, k], dim=2), torch.cat([state.v, v], dim=2)
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device).tril(past)
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)), KeyValueCache(k, v)


def build(config: ModelConfig) -> CausalAttention:
    """One attention layer of the model."""
    return CausalAttention(config)
