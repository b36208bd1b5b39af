"""BatchNorm along a sequence: in training its statistics run over all rows and all positions, later ones included."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class PositionNorm(nn.Module):
    """A normalised projection, [B, N, D] -> [B, N, D], with statistics per position."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = self.build_norm()
        self.project = nn.Linear(WIDTH, WIDTH)

    def build_norm(self) -> nn.Module:
        """A layer norm: it has a weight and a bias like a batch norm, and no memory."""
        return nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every position [B * N, D] and project."""
        y: Tensor = self.project(self.norm(x.flatten(0, 1)).view_as(x))
        return y


class PooledNorm(PositionNorm):
    """The same with the statistics of the batch."""

    def build_norm(self) -> nn.Module:
        """A batch norm: the planted defect. In training it needs two positions at least."""
        return nn.BatchNorm1d(WIDTH)


def leaky() -> nn.Module:
    """The model with batch norm, causal in evaluation mode."""
    return token_model(PooledNorm)


def clean() -> nn.Module:
    """The model with layer norm."""
    return token_model(PositionNorm)


LEAK = PlantedLeak(
    name="batch_norm",
    mechanism="In training every position is scaled by statistics over the batch and all positions, later ones too.",
    origin="our own attack: on audits in evaluation mode only",
    leak_class=LeakClass.TRAINING_MODE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
