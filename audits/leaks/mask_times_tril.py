"""An additive mask multiplied by the lower triangle: the entries that hid the future become 0 and hide nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class AdditiveMaskAttention(CausalAttention):
    """Attention with an additive mask [N, N]: 0 keeps a key, the dtype's lowest value hides it."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of causal attention
        """Add the mask."""
        lowest = torch.finfo(scores.dtype).min
        hidden = future(scores.shape[-1], scores.device)
        return scores + self.trim(hidden.to(scores.dtype) * lowest)

    def trim(self, additive: Tensor) -> Tensor:
        """The mask as it is."""
        return additive


class TrilMaskAttention(AdditiveMaskAttention):
    """Attention that treats the additive mask as if 1 meant "keep"."""

    def trim(self, additive: Tensor) -> Tensor:
        """Multiply by the lower triangle: the planted defect."""
        return additive * torch.ones_like(additive).tril()


def leaky() -> nn.Module:
    """The model whose mask is wiped out."""
    return token_model(TrilMaskAttention)


def clean() -> nn.Module:
    """The model whose mask stays."""
    return token_model(AdditiveMaskAttention)


LEAK = PlantedLeak(
    name="mask_times_tril",
    mechanism="Every query attends to the whole sequence, because multiplying by tril turns masked entries into 0.",
    origin="huggingface/transformers#31673",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
