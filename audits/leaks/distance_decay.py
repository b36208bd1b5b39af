"""Attention discounted by the attention that lies between query and key, through a square root."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class DistanceAttention(CausalAttention):
    """Causal attention whose scores fall with the square root of the weight that lies between query and key.

    Of the last keys rounding leaves a residue of that weight, and its square root is far larger than rounding.
    """

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Discounted scores [B, N, N] with the hidden keys at minus infinity."""
        weights = self.weighed(scores, x).softmax(-1)
        between = (weights.sum(-1, keepdim=True) - weights.cumsum(-1)).clamp(min=0).sqrt()
        return super().mask(scores - between.detach(), x)

    def weighed(self, scores: Tensor, x: Tensor) -> Tensor:
        """The scores that say what lies between: those of the visible keys."""
        return super().mask(scores, x)


class UnmaskedDistanceAttention(DistanceAttention):
    """The same with distances from all keys."""

    def weighed(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Those of all keys: the planted defect."""
        return scores


def leaky() -> nn.Module:
    """The model whose distances count later keys."""
    return token_model(UnmaskedDistanceAttention)


def clean() -> nn.Module:
    """The model whose distances count the keys so far."""
    return token_model(DistanceAttention)


LEAK = PlantedLeak(
    name="distance_decay",
    mechanism="Scores fall with the square root of the detached attention between query and key, later keys included.",
    origin="our own attack: on noise floors that take every rounding error for one of slope one; knowledge tracing",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
