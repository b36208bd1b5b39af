"""Queries, keys and values replaced by their block's mean, broadcast back to every token of the block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

BLOCK = 4


class RunningBlockAttention(CausalAttention):
    """Causal attention between means over each token's block so far."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend between block means; averaging commutes with the linear projections."""
        share = self.share(torch.arange(x.shape[1], device=x.device)).to(x.dtype)
        return super().forward(share / share.sum(-1, keepdim=True) @ x)

    def share(self, position: Tensor) -> Tensor:
        """Whose mean a token takes: bool [N, N], True for tokens of its block up to itself."""
        return self.same_block(position) & (position <= position[:, None])

    def same_block(self, position: Tensor) -> Tensor:
        """Which tokens share a block: bool [N, N]."""
        return position[:, None] // BLOCK == position // BLOCK


class WholeBlockAttention(RunningBlockAttention):
    """The same between means over whole blocks."""

    def share(self, position: Tensor) -> Tensor:
        """All tokens of the block: the planted defect."""
        return self.same_block(position)


def leaky() -> nn.Module:
    """The model that attends between means of whole blocks."""
    return token_model(WholeBlockAttention)


def clean() -> nn.Module:
    """The model that attends between means of blocks so far."""
    return token_model(RunningBlockAttention)


LEAK = PlantedLeak(
    name="block_mean_broadcast",
    mechanism="A token's query, key and value are its block's mean, so it sees the later tokens of its block.",
    origin="karpathy/nanochat#844",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
