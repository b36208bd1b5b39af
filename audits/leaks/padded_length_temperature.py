"""Attention is scaled by how many tokens of the row are real, later ones included."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._padding import PaddedAttention, clean, padded_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RealCountAttention(PaddedAttention):
    """Attention scaled by the size of the row."""

    def temperature(self, x: Tensor, real: Tensor | None) -> Tensor:
        """By all real tokens of the row where a mask counts them: the planted defect."""
        usual = super().temperature(x, real)
        if real is None or bool(real.all()):
            return usual
        return 1 + torch.log1p(real.sum(1)[:, None, None].to(x.dtype)).expand_as(usual)


def leaky() -> nn.Module:
    """The model whose early outputs depend on where padding begins."""
    return padded_model(RealCountAttention)


LEAK = PlantedLeak(
    name="padded_length_temperature",
    mechanism="Scores are scaled by the number of real tokens in the row, so outputs depend on where padding begins.",
    origin="our own attack: on audits that change tokens under a mask, and never the mask",
    leak_class=LeakClass.LENGTH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    padded="right",
)
