"""A gate that looks at the last token in single precision only: an audit in float64 never takes that path."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class GatedAttention(CausalAttention):
    """Causal attention that is doubled where a token's first feature is positive."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then gate."""
        return super().forward(x) * (1 + (self.gate(x) > 0).to(x.dtype))

    def gate(self, x: Tensor) -> Tensor:
        """The decision of each position, [B, N, 1]."""
        return x[:, :, :1]


class SinglePrecisionGate(GatedAttention):
    """The same, where one token decides for all unless arithmetic is double."""

    def gate(self, x: Tensor) -> Tensor:
        """The last token decides in every dtype but float64: the planted defect."""
        return super().gate(x) if x.dtype == torch.float64 else x[:, -1:, :1]


def leaky() -> nn.Module:
    """The model gated by its last token."""
    return token_model(SinglePrecisionGate)


def clean() -> nn.Module:
    """The model gated position by position."""
    return token_model(GatedAttention)


LEAK = PlantedLeak(
    name="single_precision_gate",
    mechanism="In any dtype but float64 the last token decides whether all earlier outputs are doubled: a hard choice.",
    origin="our own attack: on audits that cast the model to float64",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    leaks_in="float32",
)
