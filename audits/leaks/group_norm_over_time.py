"""GroupNorm given [B, D, N]: its statistics run over the whole sequence instead of over one position's channels."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

GROUPS = 4


class PositionGroupNorm(nn.Module):
    """A normalised projection, [B, N, D] -> [B, N, D], with statistics per position."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise and project."""
        y: Tensor = self.project(self.normalise(x))
        return y

    def normalise(self, x: Tensor) -> Tensor:
        """Every position is its own sample, [B * N, D]."""
        y: Tensor = self.norm(x.flatten(0, 1)).view_as(x)
        return y


class TimeGroupNorm(PositionGroupNorm):
    """The same with statistics over channels and time."""

    def normalise(self, x: Tensor) -> Tensor:
        """A row is one sample, [B, D, N]: the planted defect."""
        y: Tensor = self.norm(x.mT).mT
        return y


def leaky() -> nn.Module:
    """The model normalised over time."""
    return token_model(TimeGroupNorm, layers=2)


def clean() -> nn.Module:
    """The model normalised position by position."""
    return token_model(PositionGroupNorm, layers=2)


LEAK = PlantedLeak(
    name="group_norm_over_time",
    mechanism="Every position is scaled by mean and variance over the whole sequence, through GroupNorm on [B, D, N].",
    origin="Wan-Video/Wan2.1#294",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
