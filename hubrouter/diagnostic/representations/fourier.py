"""Fourier mixing, as in FNet (arXiv:2105.03824): the real part of the transform over tokens and features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class Fourier(nn.Module):
    """No weights; scaled so that the norm of the features is kept (our choice)."""

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Re FFT2(x) / √(N D)."""
        mixed: Tensor = torch.fft.fft2(x, norm="ortho").real
        return mixed


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of Fourier transforms."""
    return stack(config, Fourier)


PART = Part("O(N log N D)", build)
