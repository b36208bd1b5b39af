"""Compressed-block attention with its block mask inverted: True meant "keep" and was read as "hide"."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

BLOCK = 4


class CompressedAttention(CausalAttention):
    """Attention to block means of keys and values; a query attends to the blocks that have ended, itself included."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend to [B, N // BLOCK, D] compressed keys; a trailing partial block has none."""
        scores = self.score(self.query(x), self.compress(self.key(x)))
        scores = scores.masked_fill(~self.visible(scores), -math.inf)
        y: Tensor = self.out(self.weights(scores) @ self.compress(self.value(x)))
        return y

    def compress(self, x: Tensor) -> Tensor:
        """Means of whole blocks, [B, N // BLOCK, D]."""
        rows, n, width = x.shape
        return x[:, : n // BLOCK * BLOCK].reshape(rows, n // BLOCK, BLOCK, width).mean(2)

    def visible(self, scores: Tensor) -> Tensor:
        """Which blocks have ended at each query: bool [N, N // BLOCK]."""
        queries, blocks = scores.shape[1:]
        last = BLOCK * torch.arange(1, blocks + 1, device=scores.device) - 1
        return last <= torch.arange(queries, device=scores.device)[:, None]


class InvertedBlockAttention(CompressedAttention):
    """The same, seeing the blocks that have not ended."""

    def visible(self, scores: Tensor) -> Tensor:
        """The inverse of the right mask: the planted defect."""
        return ~super().visible(scores)


def leaky() -> nn.Module:
    """The model that attends to later blocks."""
    return token_model(InvertedBlockAttention)


def clean() -> nn.Module:
    """The model that attends to ended blocks."""
    return token_model(CompressedAttention)


LEAK = PlantedLeak(
    name="inverted_block_mask",
    mechanism="Every query attends to the compressed blocks that end after it, because the block mask is inverted.",
    origin="tilde-research/nsa-release#3",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
