"""A finite mask of -10000 that large scores outgrow: a key in the future wins wherever it leads by more than that."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

PENALTY = -1e4
GAIN = 1e5  # gives scores a deviation of about three penalties, as after a training run whose scores grew unchecked


class LargeScoreAttention(CausalAttention):
    """Causal attention whose scores have grown large; the mask adds minus infinity."""

    penalty = -math.inf

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.query.weight.mul_(GAIN)

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of causal attention
        """Add the penalty to every later key."""
        penalties = scores.new_zeros(()).masked_fill(future(scores.shape[-1], scores.device), self.penalty)
        return scores + penalties


class FinitePenaltyAttention(LargeScoreAttention):
    """The same with a penalty that these scores exceed."""

    penalty = PENALTY  # the planted defect


def leaky() -> nn.Module:
    """The model whose scores outgrew the mask."""
    return token_model(FinitePenaltyAttention)


def clean() -> nn.Module:
    """The model whose mask cannot be outgrown."""
    return token_model(LargeScoreAttention)


LEAK = PlantedLeak(
    name="finite_mask_outgrown",
    mechanism="A query attends to a later key whose score leads by more than 10000, which is all the mask takes off.",
    origin="karpathy/minGPT#75",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
