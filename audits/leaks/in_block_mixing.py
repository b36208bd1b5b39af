"""Block-wise mixing that is causal from block to block and unmasked inside each block."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

BLOCK = 8


class TriangularMixing(nn.Module):
    """Learned mixing inside blocks plus the sum of the blocks before, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(BLOCK, BLOCK) / BLOCK**0.5)
        self.context = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Mix blocks [B, N / BLOCK, BLOCK, D]; a partial last block is filled with zeros."""
        blocks = F.pad(x, (0, 0, 0, -x.shape[1] % BLOCK)).reshape(x.shape[0], -1, BLOCK, WIDTH)
        before = F.pad(blocks.mean(2).cumsum(1), (0, 0, 1, -1))
        mixed: Tensor = self.weights() @ blocks + self.context(before)[:, :, None]
        return mixed.flatten(1, 2)[:, : x.shape[1]]

    def weights(self) -> Tensor:
        """The lower triangle of the mixing matrix [BLOCK, BLOCK]."""
        return self.mixing.tril()


class FullMixing(TriangularMixing):
    """The same with the whole matrix."""

    def weights(self) -> Tensor:
        """The mixing matrix, upper triangle included: the planted defect."""
        return self.mixing


def leaky() -> nn.Module:
    """The model that mixes both ways inside a block."""
    return token_model(FullMixing)


def clean() -> nn.Module:
    """The model that mixes forwards inside a block."""
    return token_model(TriangularMixing)


LEAK = PlantedLeak(
    name="in_block_mixing",
    mechanism="A token sees the later tokens of its block; cuts at block edges show nothing.",
    origin="causal-certificate README, a win by a factor of 7.2 that was a leak inside blocks",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
