"""Linformer: keys and values projected along the sequence, so that every summary holds every token."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import WIDTH, feature_model, sink_softmax
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

LONGEST = 256  # positions the projection has weights for
SUMMARIES = 4


class PrefixProjection(nn.Module):
    """Attention to SUMMARIES (S) weighted sums of keys and values, [B, N, D] -> [B, N, D], N up to LONGEST."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.projection = nn.Parameter(torch.randn(LONGEST, SUMMARIES) / 4)  # a sum over 16 tokens has deviation 1

    def forward(self, x: Tensor) -> Tensor:
        """Attend; keys and values are [B, N or 1, S, D]."""
        keys, values = self.summarise(self.key(x)), self.summarise(self.value(x))
        scores = (self.query(x)[:, :, None] * keys).sum(-1) / math.sqrt(WIDTH)
        return (sink_softmax(scores)[..., None] * values).sum(2)

    def summarise(self, x: Tensor) -> Tensor:
        """Weighted sums along the sequence."""
        return self.total(self.projection[: x.shape[1], :, None] * x[:, :, None])

    def total(self, terms: Tensor) -> Tensor:
        """Sums of each position and those before it, [B, N, S, D] -> [B, N, S, D]."""
        return terms.cumsum(1)


class SequenceProjection(PrefixProjection):
    """The same with one set of summaries for all queries."""

    def total(self, terms: Tensor) -> Tensor:
        """Sums over the whole sequence, [B, 1, S, D]: the planted defect."""
        return terms.sum(1, keepdim=True)


def leaky() -> nn.Module:
    """The model that attends to summaries of the whole sequence."""
    return feature_model(SequenceProjection)


def clean() -> nn.Module:
    """The model that attends to summaries of the sequence so far."""
    return feature_model(PrefixProjection)


LEAK = PlantedLeak(
    name="sequence_projection",
    mechanism="Every query attends to projections of keys and values over the whole sequence.",
    origin="tatp22/linformer-pytorch#25",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    width=WIDTH,
)
