"""A convolution over rows packed into one stream: each row's first positions depend on the row before."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

KERNEL = 4


class RowConvolution(nn.Module):
    """A causal convolution along every row, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(WIDTH, WIDTH, KERNEL)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the streams."""
        streams = F.pad(self.streams(x).mT, (KERNEL - 1, 0))
        y: Tensor = self.convolution(streams).mT.reshape(x.shape)
        return y

    def streams(self, x: Tensor) -> Tensor:
        """Every row is a stream of its own, [B, N, D]."""
        return x


class PackedConvolution(RowConvolution):
    """The same over all rows laid end to end, without a reset between them."""

    def streams(self, x: Tensor) -> Tensor:
        """All rows in one stream, [1, B * N, D]: the planted defect."""
        return x.flatten(0, 1)[None]


def leaky() -> nn.Module:
    """The model whose convolution runs on from row to row."""
    return token_model(PackedConvolution)


def clean() -> nn.Module:
    """The model whose convolution starts afresh in each row."""
    return token_model(RowConvolution)


LEAK = PlantedLeak(
    name="packed_row_convolution",
    mechanism="The first positions of a row see the last ones of the row before: convolution state is not reset.",
    origin="axolotl#3796",
    leak_class=LeakClass.BATCH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
