"""A path made for backward passes forgets the causal mask: it is taken in training, while gradients are recorded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RecordedAttention(CausalAttention):
    """Causal attention that recomputes its weights in the backward pass, where there is one."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """The mask of the path that is taken."""
        recorded = self.training and torch.is_grad_enabled() and scores.requires_grad
        return self.recorded_mask(scores, x) if recorded else super().mask(scores, x)

    def recorded_mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """The same mask."""
        return super().mask(scores, x)


class UnmaskedRecordedAttention(RecordedAttention):
    """The same without a mask on the path that is recomputed."""

    def recorded_mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of a mask
        """No mask at all: the planted defect."""
        return scores


def leaky() -> nn.Module:
    """The model that loses its mask where its weights are trained."""
    return token_model(UnmaskedRecordedAttention)


def clean() -> nn.Module:
    """The model that masks always."""
    return token_model(RecordedAttention)


LEAK = PlantedLeak(
    name="mask_of_recorded_graph",
    mechanism="In training with gradients every query attends to the whole sequence; without them the mask is there.",
    origin="our own attack: on audits that enter training mode under no_grad",
    leak_class=LeakClass.TRAINING_MODE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
