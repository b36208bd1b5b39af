"""A kernel for half precision that forgot its mask: in float32 and float64 the very same weights are causal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

HALF = (torch.bfloat16, torch.float16)


class TwoKernelAttention(CausalAttention):
    """Causal attention with a path of its own for half precision, as fused kernels have."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Scores with the hidden keys at minus infinity, whatever the dtype."""
        return self.mask_half(scores, x) if scores.dtype in HALF else super().mask(scores, x)

    def mask_half(self, scores: Tensor, x: Tensor) -> Tensor:
        """What the fast path does about later keys: the same."""
        return super().mask(scores, x)


class HalfUnmaskedAttention(TwoKernelAttention):
    """The same with a fast path that hides nothing."""

    def mask_half(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Every key stays visible: the planted defect."""
        return scores


def leaky() -> nn.Module:
    """The model whose half-precision path has no mask."""
    return token_model(HalfUnmaskedAttention)


def clean() -> nn.Module:
    """The model whose paths agree."""
    return token_model(TwoKernelAttention)


LEAK = PlantedLeak(
    name="half_precision_kernel",
    mechanism="In bfloat16 and float16 a query attends to the whole sequence; in float32 and float64 it is causal.",
    origin="our own attack: on audits in another dtype than the model is trained in",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    leaks_in="bfloat16",
)
