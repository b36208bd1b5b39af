"""A model that is given a padding mask, for the planted leaks that need one: 1 marks a real token, 0 padding."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, Block, CausalAttention, Model, future, seeded


class PaddedAttention(CausalAttention):
    """Causal attention that hides padding; leaks override what is hidden, or how scores are scaled."""

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Attend among real tokens, bool [B, N], or among all."""
        scores = self.score(self.query(x), self.key(x)) * self.temperature(x, real)
        y: Tensor = self.out(self.weights(scores.masked_fill(self.hidden(x, real), -math.inf)) @ self.value(x))
        return y

    def temperature(self, x: Tensor, real: Tensor | None) -> Tensor:
        """A factor of the scores, [B, N, 1]: it grows with how many real tokens a position has seen."""
        seen = torch.ones(x.shape[:2], dtype=torch.int64, device=x.device) if real is None else real
        return 1 + seen.cumsum(1)[..., None].to(x.dtype).log1p()

    def hidden(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Which keys are hidden from which queries, bool [N, N] or [B, N, N]."""
        later = future(x.shape[1], x.device)
        return later if real is None else later | ~real[:, None, :]


class PaddedModel(Model):
    """A language model with one block whose mixer is given the padding mask."""

    def __init__(self, mixer: PaddedAttention) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [mixer], outputs=VOCAB)

    def forward(self, inputs: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Outputs at every position; those at padding mean nothing."""
        block, x = self.blocks[0], self.embed(inputs)
        assert isinstance(block, Block)
        real = None if attention_mask is None else attention_mask.bool()
        return self.read(block.finish(x + block.mixer(block.mixer_norm(x), real)))


def padded_model(mixer: Callable[[], PaddedAttention]) -> nn.Module:
    """A seeded language model over VOCAB ids with a padding mask."""
    return seeded(lambda: PaddedModel(mixer()))


def clean() -> nn.Module:
    """The model that stays causal, and hides padding, under every mask."""
    return padded_model(PaddedAttention)
