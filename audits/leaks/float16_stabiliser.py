"""In float16 scores are divided by the largest of the whole sequence, so that they cannot overflow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class StabilisedAttention(CausalAttention):
    """Causal attention whose scores are scaled down in float16."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scaled dot products; in float16 divided by a bound."""
        scores = super().score(queries, keys)
        return scores / self.bound(scores) if scores.dtype == torch.float16 else scores

    def bound(self, scores: Tensor) -> Tensor:
        """A constant that no score exceeds here."""
        return scores.new_full((), 8.0)


class BoundedBySequence(StabilisedAttention):
    """The same with the bound that the sequence shows."""

    def bound(self, scores: Tensor) -> Tensor:
        """The largest score between any two positions: the planted defect."""
        return 0.1 + scores.abs().amax((1, 2), keepdim=True).detach()


def leaky() -> nn.Module:
    """The model whose attention in float16 knows how large later scores are."""
    return token_model(BoundedBySequence)


def clean() -> nn.Module:
    """The model that scales by a constant."""
    return token_model(StabilisedAttention)


LEAK = PlantedLeak(
    name="float16_stabiliser",
    mechanism="In float16 alone every position is scaled by the largest score of the sequence, later ones included.",
    origin="our own attack: on audits in float64, float32 and bfloat16; scores kept from overflowing in float16",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    leaks_in="float16",
)
