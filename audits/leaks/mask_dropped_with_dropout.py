"""The causal mask is skipped on the code path that applies dropout, that is in training only."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class DropoutAttention(CausalAttention):
    """Causal attention with dropout on its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)

    def weights(self, scores: Tensor) -> Tensor:
        """Attention weights, some of them dropped in training."""
        weights: Tensor = self.dropout(super().weights(scores))
        return weights


class MaskDroppingAttention(DropoutAttention):
    """The same, but dropout and mask exclude each other."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Mask only where no dropout will follow: the planted defect."""
        if self.training and self.dropout.p > 0:
            return scores
        return super().mask(scores, x)


def leaky() -> nn.Module:
    """The model that loses its mask in training."""
    return token_model(MaskDroppingAttention)


def clean() -> nn.Module:
    """The model that masks always."""
    return token_model(DropoutAttention)


LEAK = PlantedLeak(
    name="mask_dropped_with_dropout",
    mechanism="In training every query attends to the whole sequence, because the dropout path forgets the mask.",
    origin="keras-team/keras#23038",
    leak_class=LeakClass.TRAINING_MODE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
