"""Prefill that skips the causal mask because it was written for one token at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.leaks._streaming import CachedAttention, streaming_model
from audits.results import LeakClass


class UnmaskedPrefill(CachedAttention):
    """Cached attention that takes every key in the cache for an earlier one."""

    def hidden(self, past: int, x: Tensor) -> Tensor:
        """Nothing, which is right for a piece of one token only: the planted defect."""
        return torch.zeros(x.shape[1], past + x.shape[1], dtype=torch.bool, device=x.device)


def leaky() -> nn.Module:
    """The model whose prompt is attended to without a mask."""
    return streaming_model(UnmaskedPrefill)


def clean() -> nn.Module:
    """The model whose prompt is masked like a sequence."""
    return streaming_model(CachedAttention)


LEAK = PlantedLeak(
    name="unmasked_prefill",
    mechanism="With a cache, a token attends to the later tokens of the piece it is fed in; forward is causal.",
    origin="Mikyx-1/TinyLLM#18",
    leak_class=LeakClass.DECODE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
