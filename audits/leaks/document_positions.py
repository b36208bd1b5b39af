"""Absolute positions that run on over the documents of a row: each depends on how long those before it are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._packed import ByBorders, PackedAttention, numbered, starts
from audits.leaks._parts import VOCAB, WIDTH, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

LONGEST = 256


class CountedPositions(ByBorders):
    """A model with an embedding of positions counted from the beginning of each document."""

    def __init__(self) -> None:
        super().__init__([PackedAttention()])
        self.place = nn.Embedding(LONGEST, WIDTH)

    def forward(self, inputs: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """Outputs for inputs [1, N] and cu_seqlens int32 [D + 1]."""
        documents = torch.zeros_like(inputs) if cu_seqlens is None else numbered(cu_seqlens, inputs)
        x: Tensor = self.embed(inputs) + self.place(self.positions(documents))
        return self.through(x, documents)

    def positions(self, documents: Tensor) -> Tensor:
        """Positions in the document, int64 [B, N]."""
        counted = self.counted(documents)
        return counted - counted.where(starts(documents), torch.zeros_like(counted)).cummax(1).values

    def counted(self, documents: Tensor) -> Tensor:
        """Positions in the row, int64 [B, N]."""
        return torch.arange(documents.shape[1], device=documents.device).expand_as(documents)


class RunningPositions(CountedPositions):
    """The same, counted from the beginning of the row."""

    def positions(self, documents: Tensor) -> Tensor:
        """Positions in the row: the planted defect."""
        return self.counted(documents)


def leaky() -> nn.Module:
    """The model whose positions are not reset."""
    return seeded(RunningPositions)


def clean() -> nn.Module:
    """The model whose positions are."""
    return seeded(CountedPositions)


LEAK = PlantedLeak(
    name="document_positions",
    mechanism="A packed document depends on the lengths of those before it, because its positions do not begin again.",
    origin="our own attack: on audits that change the content of other documents and not their length",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
