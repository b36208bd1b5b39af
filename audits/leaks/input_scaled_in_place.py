"""Features scaled in place: the tensor that the caller holds is another one after the call."""

from __future__ import annotations

import math

from torch import Tensor, nn

from audits.leaks._parts import WIDTH, CausalAttention, Model, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class ScaledInlet(nn.Module):
    """Features [B, N, D] scaled to unit length and projected, [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Scale and project."""
        y: Tensor = self.project(self.scaled(x))
        return y

    def scaled(self, x: Tensor) -> Tensor:
        """A scaled copy."""
        return x / math.sqrt(WIDTH)


class InPlaceInlet(ScaledInlet):
    """The same without a copy."""

    def scaled(self, x: Tensor) -> Tensor:
        """What came in, scaled where it is: the planted defect."""
        return x.div_(math.sqrt(WIDTH))


def leaky() -> nn.Module:
    """The model that changes its caller's features."""
    return seeded(lambda: Model(InPlaceInlet(), [CausalAttention()], outputs=WIDTH))


def clean() -> nn.Module:
    """The model that scales a copy."""
    return seeded(lambda: Model(ScaledInlet(), [CausalAttention()], outputs=WIDTH))


LEAK = PlantedLeak(
    name="input_scaled_in_place",
    mechanism="A call writes into the features it is given, so a second call with the same tensor answers otherwise.",
    origin="our own attack: on audits that give every call a copy of its input",
    leak_class=LeakClass.STATE,
    leaky=leaky,
    clean=clean,
    width=WIDTH,
)
