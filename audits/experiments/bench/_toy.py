"""Causal models of attention: one so small that an audit costs little beyond its own instruments, and larger ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Layers of a Transformer with a causal mask: tokens [B, N] to logits [B, N, V]."""

    def __init__(self, width: int, heads: int, layers: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=self.head.weight.dtype)
        hidden = self.layers(self.embedding(tokens), mask=mask, is_causal=True)
        logits: Tensor = self.head(hidden)
        return logits


def model() -> Attention:
    """Two layers, 32 features wide."""
    return _fixed(32, 2, 2, 50)


def millions() -> Attention:
    """6 million parameters."""
    return _fixed(256, 4, 8, 4_000)


def hundred_millions() -> Attention:
    """110 million parameters."""
    return _fixed(768, 12, 18, 16_000)


def _fixed(*sizes: int) -> Attention:
    torch.manual_seed(0)
    return Attention(*sizes).eval()
