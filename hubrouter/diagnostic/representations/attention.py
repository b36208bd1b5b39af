"""Transformer layers, causal or bidirectional, with rotary embedding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.mixers.attention import CausalAttention
from hubrouter.shapes import Bool, Float


class Attention(CausalAttention):
    """The attention of `hubrouter.mixers` with a mask [N, N]; without one the configuration's `causal` decides."""

    mask: Tensor | None

    def __init__(self, config: DiagnosticConfig, mask: Bool[Tensor, "N N"] | None = None) -> None:
        super().__init__(config.model())
        self.causal = config.causal and mask is None
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Float[Tensor, "B N D"], valid: Tensor | None = None) -> Float[Tensor, "B N D"]:
        """Attend; there is no padding here."""
        assert valid is None
        q, k, v = self.heads(x, 0)
        mask = None if self.mask is None else self.mask[: x.shape[1], : x.shape[1]]
        return self._merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal))


def build(config: DiagnosticConfig) -> nn.Module:
    """Attention layers."""
    return stack(config, lambda: Attention(config))


PART = Part("O(N² D)", build)
