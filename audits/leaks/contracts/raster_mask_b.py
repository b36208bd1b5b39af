"""Masked convolutions over an image, whose first one lets every pixel see itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

LEVELS = 4


class MaskedConvolution(nn.Conv2d):
    """A convolution over the pixels before each one in raster order, [B, C, H, W] -> [B, D, H, W]."""

    def __init__(self, channels: int, *, itself: bool) -> None:
        super().__init__(channels, WIDTH, 3, padding=1)
        seen = torch.zeros(3, 3)
        seen[0], seen[1, : 1 + itself] = 1.0, 1.0
        self.register_buffer("seen", seen)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with the unmasked weights."""
        assert isinstance(self.seen, Tensor)
        return F.conv2d(x, self.weight * self.seen, self.bias, padding=1)


class PixelModel(nn.Module):
    """Pixels [B, 1, H, W] to the scores [B, LEVELS, H, W] of each pixel, from those before it."""

    first = False  # mask type A: the first layer does not see the pixel itself

    def __init__(self) -> None:
        super().__init__()
        self.inlet = MaskedConvolution(1, itself=self.first)
        self.hidden = MaskedConvolution(WIDTH, itself=True)
        self.scores = nn.Conv2d(WIDTH, LEVELS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Two masked convolutions, then scores."""
        scores: Tensor = self.scores(self.hidden(self.inlet(pixels).tanh()).tanh())
        return scores


class SeeingPixelModel(PixelModel):
    """The same with mask type B throughout."""

    first = True  # the planted defect


LEAK = ContractLeak(
    name="raster_mask_b",
    mechanism="The scores of a pixel depend on the pixel, because the first convolution has a mask of type B.",
    leaky=lambda: seeded(SeeingPixelModel),
    clean=lambda: seeded(PixelModel),
    contract=Contract(strict=True, inputs={"pixels": "past:features:1"}, input_axis=(2, 3), output_axis=(2, 3)),
    reads=lambda source, sink: source == sink,
    line="F.conv2d(",
    argument="pixels",
    seq_len=30,
)
