"""The model's own top-k mask takes the place of the causal one, which is then never applied."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

KEYS = 4


class TopKeyAttention(CausalAttention):
    """Attention to the keys with the highest scores among those a query may attend to."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Hide the future, then all but the best keys."""
        return self.keep_best(super().mask(scores, x))

    def keep_best(self, scores: Tensor) -> Tensor:
        """Scores with all but each query's KEYS best at minus infinity."""
        best = scores.topk(min(KEYS, scores.shape[-1]), dim=-1).indices
        dropped = torch.ones_like(scores, dtype=torch.bool).scatter(-1, best, value=False)
        return scores.masked_fill(dropped, -math.inf)


class OwnMaskAttention(TopKeyAttention):
    """The same with no mask but its own."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Hide all but the best keys of the whole sequence: the planted defect."""
        return self.keep_best(scores)


def leaky() -> nn.Module:
    """The model that forgets the causal mask."""
    return token_model(OwnMaskAttention, layers=2)


def clean() -> nn.Module:
    """The model that applies both masks."""
    return token_model(TopKeyAttention, layers=2)


LEAK = PlantedLeak(
    name="own_topk_mask",
    mechanism="Every query attends to the best keys of the whole sequence: passing a mask switched the causal one off.",
    origin="huggingface/transformers#48748",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
