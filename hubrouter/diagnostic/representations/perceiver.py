"""Perceiver hubs (arXiv:2103.03206): M learned queries attend to all tokens, and all tokens attend to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class Hubs(nn.Module):
    """Two cross-attentions through M hubs."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.hubs = nn.Parameter(torch.randn(config.hubs, config.d_model) * 0.5)
        self.gather = nn.MultiheadAttention(config.d_model, config.n_heads, bias=False, batch_first=True)
        self.spread = nn.MultiheadAttention(config.d_model, config.n_heads, bias=False, batch_first=True)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Tokens to hubs to tokens."""
        hubs = self.hubs.expand(len(x), -1, -1)
        hubs = hubs + self.gather(hubs, x, x, need_weights=False)[0]
        mixed: Tensor = self.spread(x, hubs, hubs, need_weights=False)[0]
        return mixed


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of hubs."""
    return stack(config, lambda: Hubs(config))


PART = Part("O(N M D)", build)
