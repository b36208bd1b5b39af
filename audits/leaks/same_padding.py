"""A convolution with "same" padding: the kernel is centred on its position, so half of it reaches into the future."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import WIDTH, feature_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

KERNEL = 5


class CausalConvolution(nn.Module):
    """A convolution along the sequence, [B, N, D] -> [B, N, D], over the last KERNEL positions."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, KERNEL)

    def forward(self, x: Tensor) -> Tensor:
        """Pad, convolve."""
        y: Tensor = self.convolution(self.pad(x.mT)).mT
        return y

    def pad(self, x: Tensor) -> Tensor:
        """Zeros before the first position, [B, D, N] -> [B, D, N + KERNEL - 1]."""
        return F.pad(x, (KERNEL - 1, 0))


class SameConvolution(CausalConvolution):
    """A convolution centred on each position."""

    def pad(self, x: Tensor) -> Tensor:
        """Zeros on both sides: the planted defect."""
        return F.pad(x, (KERNEL // 2, KERNEL // 2))


def leaky() -> nn.Module:
    """The model with centred kernels."""
    return feature_model(SameConvolution)


def clean() -> nn.Module:
    """The model with kernels that end at their position."""
    return feature_model(CausalConvolution)


LEAK = PlantedLeak(
    name="same_padding",
    mechanism="A position sees the next two, because the convolution pads on both sides instead of the left alone.",
    origin="peustr/wavenet#1",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    width=WIDTH,
)
