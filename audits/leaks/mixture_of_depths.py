"""Mixture of depths: the top half of the sequence passes through a layer, so tokens compete with later ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class ThresholdDepth(nn.Module):
    """A layer, [B, N, D] -> [B, N, D], that only the tokens chosen by a router pass through."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, 1, bias=False)
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output, gated by each token's own score, or zeros."""
        scores = self.router(x)
        y: Tensor = (scores.sigmoid() * self.layer(x)).where(self.choose(scores), 0.0)
        return y

    def choose(self, scores: Tensor) -> Tensor:
        """Tokens with a positive score: bool [B, N, 1]."""
        return scores > 0


class TopDepth(ThresholdDepth):
    """The same with a fixed share of the sequence."""

    def choose(self, scores: Tensor) -> Tensor:
        """The top half of the sequence: the planted defect."""
        best = scores.topk((scores.shape[1] + 1) // 2, dim=1).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, value=True)


def leaky() -> nn.Module:
    """The model in which tokens compete for the layer."""
    return token_model(TopDepth)


def clean() -> nn.Module:
    """The model in which each token decides for itself."""
    return token_model(ThresholdDepth)


LEAK = PlantedLeak(
    name="mixture_of_depths",
    mechanism="Whether a token passes the layer depends on its rank in the sequence and on the sequence's length.",
    origin="sramshetty/mixture-of-depths#4",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
