"""Linformer (arXiv:2006.04768): keys and values are projected along the sequence to a few rows. Bidirectional."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class Linformer(nn.Module):
    """Softmax over `features` rows, each a learned mixture of all N keys; sequences have N tokens or fewer."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)
        self.rows = nn.Parameter(torch.randn(2, config.features, config.length) * config.length**-0.5)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Attend to the projected rows."""
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        keys, values = self.rows[:, :, : x.shape[1]]
        mixed = F.scaled_dot_product_attention(q, keys @ k, values @ v)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of Linformer attention."""
    return stack(config, lambda: Linformer(config))


PART = Part("O(N F D)", build)
