"""A causal model of two layers, small enough that an audit of it costs little beyond its own instruments."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Toy(nn.Module):
    """Two layers of a Transformer with a causal mask, 32 features wide: tokens [B, N] to logits [B, N, 50]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 50)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=self.head.weight.dtype)
        hidden = self.layers(self.embedding(tokens), mask=mask, is_causal=True)
        logits: Tensor = self.head(hidden)
        return logits


def model() -> Toy:
    """The model with fixed weights."""
    torch.manual_seed(0)
    return Toy().eval()
