"""A mask that is right in the first two chunks and lets a chunk attend to all of itself from the third on."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

CHUNK = 8
FIRST_LEAKY_CHUNK = 2  # 0-based: a sequence shorter than 2 * CHUNK + 2 shows nothing


class LateChunkAttention(CausalAttention):
    """Attention that is bidirectional inside late chunks only."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Forget the causal mask where query and key share a late chunk: the planted defect."""
        n = scores.shape[-1]
        chunk = torch.arange(n, device=scores.device) // CHUNK
        own = (chunk[:, None] == chunk) & (chunk >= FIRST_LEAKY_CHUNK)
        return scores.masked_fill(future(n, scores.device) & ~own, -math.inf)


def leaky() -> nn.Module:
    """The model that leaks from the third chunk on."""
    return token_model(LateChunkAttention)


def clean() -> nn.Module:
    """The model that is causal in every chunk."""
    return token_model(CausalAttention)


LEAK = PlantedLeak(
    name="late_chunk_attention",
    mechanism="From the third chunk on, a query attends to later keys of its own chunk; shorter sequences are causal.",
    origin="our own attack: on audits with sequences of one or two chunks",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
