"""A model that waits for two frames before it answers, whose last convolution sees a third."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

KERNEL = 5


class Recogniser(nn.Module):
    """Features [B, N, D] to [B, N, D], each output from all frames up to two after it."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet = nn.Linear(WIDTH, WIDTH)
        self.convolution = nn.Conv1d(WIDTH, WIDTH, KERNEL)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the past, then convolve up to the look-ahead."""
        x = running_mean(self.inlet(x)).mT
        y: Tensor = self.convolution(self.pad(x)).mT
        return y

    def pad(self, x: Tensor) -> Tensor:
        """Zeros around the frames, [B, D, N] -> [B, D, N + KERNEL - 1]."""
        return F.pad(x, (KERNEL - 3, 2))


class FartherRecogniser(Recogniser):
    """The same, one frame farther."""

    def pad(self, x: Tensor) -> Tensor:
        """One zero fewer at the left, one more at the right: the planted defect."""
        return F.pad(x, (KERNEL - 4, 3))


LEAK = ContractLeak(
    name="lookahead_exceeded",
    mechanism="An output depends on the third frame after it, because the last convolution is padded one too far.",
    leaky=lambda: seeded(FartherRecogniser),
    clean=lambda: seeded(Recogniser),
    contract=Contract(lookahead=2),
    reads=lambda source, sink: source == sink + 3,
    line="self.convolution(",
    argument="x",
    width=WIDTH,
)
