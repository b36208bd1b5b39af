"""Stage 3, score: a score head turns fingerprints into one scalar a token (paper, abstract: "score")."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.config import RouterConfig
from hubrouter.shapes import Float


class Score(nn.Module):
    """A linear head on the centred fingerprints of all heads.

    Centred means M·f - 1: zero where a token prefers no hub, of order one whatever M is (our choice). With M = 1 every
    score is the bias: one hub cannot distinguish tokens.

    How gradients pass the selection: choosing the top k has no derivative, and none is estimated. Instead the value of
    every token in the council is multiplied by `gate` = sigmoid(score), as routers of sparse experts do; the score head
    learns which tokens are worth reading. Tokens of the own chunk are read through the same gate, so scores of tokens
    that are never selected receive a gradient too.
    """

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.head = nn.Linear(config.n_heads * config.n_hubs, 1)

    def forward(self, fingerprint: Float[Tensor, "B G H L M"]) -> Float[Tensor, "B G L"]:
        """Scores; a token's score depends on that token and on the hub prefix before its chunk."""
        batch, chunks, _, length, hubs = fingerprint.shape
        centred = (fingerprint * hubs - 1).transpose(2, 3).reshape(batch, chunks, length, -1)
        score: Tensor = self.head(centred)
        return score.squeeze(-1)

    @staticmethod
    def gate(score: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The factor in (0, 1) on a token's value in the council."""
        return torch.sigmoid(score)
