"""The fast kernel that is taken under autocast has no mask; whatever the dtype, without autocast the mask is there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class FastUnderAutocast(CausalAttention):
    """Causal attention with a kernel of its own where autocast is on."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """The mask of the kernel that is taken."""
        fast = torch.is_autocast_enabled(x.device.type)
        return self.fast_mask(scores, x) if fast else super().mask(scores, x)

    def fast_mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """The same mask."""
        return super().mask(scores, x)


class UnmaskedUnderAutocast(FastUnderAutocast):
    """The same without a mask in the fast kernel."""

    def fast_mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of a mask
        """No mask at all: the planted defect."""
        return scores


def leaky() -> nn.Module:
    """The model that loses its mask under autocast."""
    return token_model(UnmaskedUnderAutocast)


def clean() -> nn.Module:
    """The model that masks always."""
    return token_model(FastUnderAutocast)


LEAK = PlantedLeak(
    name="autocast_kernel",
    mechanism="Under autocast every query attends to the whole sequence, because the kernel chosen there has no mask.",
    origin="our own attack: on audits that cast the model and never enter autocast",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    leaks_in="autocast",
)
