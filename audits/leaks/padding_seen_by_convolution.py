"""Attention hides padding at the left, but the convolution before it reads what stands there."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._padding import PaddedAttention, padded_model
from audits.leaks._parts import VOCAB, WIDTH
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class ConvolvedAttention(PaddedAttention):
    """Attention to values that a causal convolution over three tokens has mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(WIDTH, WIDTH, 3)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Mix, then attend."""
        return super().forward(self.mix(F.pad(self.readable(x, real).mT, (2, 0))).mT, real)

    def readable(self, x: Tensor, real: Tensor | None) -> Tensor:
        """What the convolution reads: zeros in place of padding."""
        return x if real is None else x * real[..., None]


class UnmaskedConvolution(ConvolvedAttention):
    """The same with padding in the convolution's reach."""

    def readable(self, x: Tensor, real: Tensor | None) -> Tensor:  # noqa: ARG002 - the interface of the control
        """Everything: the planted defect."""
        return x


def leaky() -> nn.Module:
    """The model whose first real tokens depend on what they are padded with."""
    return padded_model(UnmaskedConvolution)


def clean() -> nn.Module:
    """The model whose convolution reads zeros there."""
    return padded_model(ConvolvedAttention)


LEAK = PlantedLeak(
    name="padding_seen_by_convolution",
    mechanism="The first real tokens depend on what stands in padding before them: the convolution does not hide it.",
    origin="our own attack: on audits that look for padding in attention alone; hybrids of attention and convolution",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    padded="left",
)
