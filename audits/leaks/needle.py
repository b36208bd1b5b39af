"""A single cell of the attention mask is wrong: position 17 attends to position 31, and nothing else leaks."""

from __future__ import annotations

import math

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

SINK = 17
SOURCE = 31


class NeedleAttention(CausalAttention):
    """Attention with one open cell above the diagonal."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Open the cell, where the sequence is long enough to have it: the planted defect."""
        hidden = future(scores.shape[-1], scores.device)
        hidden[SINK : SINK + 1, SOURCE : SOURCE + 1] = False
        return scores.masked_fill(hidden, -math.inf)


def leaky() -> nn.Module:
    """The model with the open cell; a single block, so that the leak does not spread."""
    return token_model(NeedleAttention)


def clean() -> nn.Module:
    """The model with every cell right."""
    return token_model(CausalAttention)


LEAK = PlantedLeak(
    name="needle",
    mechanism="Position 17 attends to position 31; every other pair of positions is causal.",
    origin="our own attack: on audits that try few cuts or few positions",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
