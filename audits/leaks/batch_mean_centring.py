"""Centring over the batch: every row is shifted by what the other rows hold at the same position."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import WIDTH, feature_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class ChannelCentring(nn.Module):
    """A centred projection, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Subtract the mean, project."""
        y: Tensor = self.project(x - self.centre(x))
        return y

    def centre(self, x: Tensor) -> Tensor:
        """The mean over the channels of each position."""
        return x.mean(2, keepdim=True)


class BatchCentring(ChannelCentring):
    """The same with the mean over the rows."""

    def centre(self, x: Tensor) -> Tensor:
        """The mean over the batch at each position: the planted defect."""
        return x.mean(0, keepdim=True)


def leaky() -> nn.Module:
    """The model whose rows depend on each other."""
    return feature_model(BatchCentring)


def clean() -> nn.Module:
    """The model whose rows are independent."""
    return feature_model(ChannelCentring)


LEAK = PlantedLeak(
    name="batch_mean_centring",
    mechanism="Every row is shifted by the mean over the batch, so it depends on the other rows at the same position.",
    origin="our own attack: on audits with one row, or with all rows changed alike",
    leak_class=LeakClass.BATCH,
    leaky=leaky,
    clean=clean,
    width=WIDTH,
)
