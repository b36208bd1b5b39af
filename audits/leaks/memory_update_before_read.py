"""A segment memory that is updated with the current segment before the segment reads it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

SEGMENT = 8


class SegmentMemory(nn.Module):
    """A linear-attention memory over segments, [B, N, D] -> [B, N, D]; each segment reads those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Carry a memory [B, D, D] from segment to segment; a token adds its own value to what it reads."""
        memory = x.new_zeros(x.shape[0], WIDTH, WIDTH)
        outputs = []
        for segment in torch.split(x, SEGMENT, dim=1):
            updated = memory + F.softplus(self.key(segment)).mT @ self.value(segment) / SEGMENT
            query = self.query(segment).softmax(-1)
            outputs.append(self.value(segment) + query @ self.readable(memory, updated))
            memory = updated
        return torch.cat(outputs, dim=1)

    def readable(self, before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG002 - the leaky version reads the other
        """What a segment reads: the memory before its own update."""
        return before


class EagerMemory(SegmentMemory):
    """The same, read after the update."""

    def readable(self, before: Tensor, after: Tensor) -> Tensor:  # noqa: ARG002 - the clean version reads the other
        """The memory that already holds the whole segment: the planted defect."""
        return after


def leaky() -> nn.Module:
    """The model that updates first."""
    return token_model(EagerMemory)


def clean() -> nn.Module:
    """The model that reads first."""
    return token_model(SegmentMemory)


LEAK = PlantedLeak(
    name="memory_update_before_read",
    mechanism="A token reads a memory into which its whole segment, later tokens included, has already been written.",
    origin="dingo-actual/infini-transformer#4",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
