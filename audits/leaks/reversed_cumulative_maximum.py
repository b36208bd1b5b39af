"""A cumulative maximum that runs from the end: flipping the sequence turned past into future."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class CumulativeMaximum(nn.Module):
    """A projected running maximum, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The largest value so far, channel by channel."""
        y: Tensor = self.project(self.scan(x))
        return y

    def scan(self, x: Tensor) -> Tensor:
        """The maximum over each position and those before it."""
        return x.cummax(1).values


class ReversedMaximum(CumulativeMaximum):
    """The same, scanned from the last position."""

    def scan(self, x: Tensor) -> Tensor:
        """The maximum over each position and those after it: the planted defect."""
        return x.flip(1).cummax(1).values.flip(1)


def leaky() -> nn.Module:
    """The model that scans backwards."""
    return token_model(ReversedMaximum)


def clean() -> nn.Module:
    """The model that scans forwards."""
    return token_model(CumulativeMaximum)


LEAK = PlantedLeak(
    name="reversed_cumulative_maximum",
    mechanism="A position sees the channel-wise maximum of all later ones; only the largest entry carries a gradient.",
    origin="our own attack: on gradient checks at a single input",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
