"""A gate that is zero until training opens it: behind it, a summary of the whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RunningSummary(CausalAttention):
    """Causal attention plus a gated mean of the positions so far, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Attend, and add the summary through the gate."""
        y: Tensor = super().forward(x) + self.gate * self.summary(x)
        return y

    def summary(self, x: Tensor) -> Tensor:
        """The mean of each position and those before it."""
        counts = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return x.cumsum(1) / counts[:, None]


class WholeSummary(RunningSummary):
    """The same with one mean for all positions."""

    def summary(self, x: Tensor) -> Tensor:
        """The mean of the whole sequence: the planted defect."""
        return x.mean(1, keepdim=True).expand_as(x)


def leaky() -> nn.Module:
    """The model whose gate, once open, lets the future in."""
    return token_model(WholeSummary)


def clean() -> nn.Module:
    """The model whose gate opens onto the past."""
    return token_model(RunningSummary)


LEAK = PlantedLeak(
    name="zero_gate",
    mechanism="A gate initialised to zero hides a mean of the whole sequence; training opens it.",
    origin="our own attack: on audits of fresh weights; zero-initialised gates and output projections",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    zero_initialized=True,
)
