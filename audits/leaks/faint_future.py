"""An effect of the future of one part in ten million: below the tolerance of float32, real in float64."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

SIZE = 1e-7


class FaintPast(CausalAttention):
    """Causal attention plus a faint sum over other positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend and add."""
        return super().forward(x) + SIZE * self.others(x.new_ones(x.shape[1], x.shape[1])) @ x

    def others(self, ones: Tensor) -> Tensor:
        """The positions summed for each position, [N, N] of 0 and 1: those before it."""
        return ones.tril(-1)


class FaintFuture(FaintPast):
    """The same with the positions after it."""

    def others(self, ones: Tensor) -> Tensor:
        """Those after it: the planted defect."""
        return ones.triu(1)


def leaky() -> nn.Module:
    """The model with a faint view of the future."""
    return token_model(FaintFuture)


def clean() -> nn.Module:
    """The model with a faint view of the past."""
    return token_model(FaintPast)


LEAK = PlantedLeak(
    name="faint_future",
    mechanism="Every position receives the sum of all later ones, scaled by 1e-7.",
    origin="our own attack: on audits whose tolerance is a fixed 1e-5",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
