"""A boolean mask read the wrong way round: True meant "hide" where it was made and "keep" where it was used."""

from __future__ import annotations

import math

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class InvertedMaskAttention(CausalAttention):
    """Attention that keeps exactly the keys it should hide."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Hide the present and the past: the planted defect."""
        return scores.masked_fill(~future(scores.shape[-1], scores.device), -math.inf)


def leaky() -> nn.Module:
    """The model with the inverted mask."""
    return token_model(InvertedMaskAttention)


def clean() -> nn.Module:
    """The model with the mask as meant."""
    return token_model(CausalAttention)


LEAK = PlantedLeak(
    name="inverted_boolean_mask",
    mechanism="Every query attends to all later keys and no earlier one, because the mask's convention is inverted.",
    origin="rasbt/LLMs-from-scratch#1062",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
