"""A gate that training has only begun to open, on attention without a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

OPENING = 1e-6  # a gate that began at zero, after one small step of an optimiser


class GatedMemory(CausalAttention):
    """Causal attention plus a gated second attention, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.full((1,), OPENING))

    def forward(self, x: Tensor) -> Tensor:
        """Attend, and add the second look through the gate."""
        scores = self.second_mask(self.score(self.query(x), self.key(x)), x)
        y: Tensor = super().forward(x) + self.gate * (self.weights(scores) @ self.value(x))
        return y

    def second_mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """The second look is hidden from later keys like the first."""
        return self.mask(scores, x)


class UnmaskedMemory(GatedMemory):
    """The same with a second look at everything."""

    def second_mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Hide nothing: the planted defect."""
        return scores


def leaky() -> nn.Module:
    """The model whose gate lets the future in, one part in a million so far."""
    return token_model(UnmaskedMemory)


def clean() -> nn.Module:
    """The model whose gate opens onto the past."""
    return token_model(GatedMemory)


LEAK = PlantedLeak(
    name="barely_open_gate",
    mechanism="A gate of 1e-6 adds attention to the whole sequence; training opens it.",
    origin="our own attack: on audits of fresh weights with a tolerance; gates initialised to zero",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
