"""Instance normalisation over time, undone after the mixer: its statistics are those of the whole series."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import WIDTH, CausalAttention, feature_model, running_mean
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

EPSILON = 1e-2  # our choice: keeps the first position, whose running variance is 0, from dividing by nothing


class RunningNormalised(nn.Module):
    """Causal attention between normalising by detached statistics of the series and undoing it, [B, N, D] -> same."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = CausalAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, attend, undo the normalisation."""
        mean = self.average(x).detach()
        deviation = (self.average((x - mean).square()) + EPSILON).sqrt().detach()
        y: Tensor = self.attention((x - mean) / deviation) * deviation + mean
        return y

    def average(self, x: Tensor) -> Tensor:
        """The mean over each position and those before it."""
        return running_mean(x)


class SeriesNormalised(RunningNormalised):
    """The same with the statistics of the whole series."""

    def average(self, x: Tensor) -> Tensor:
        """The mean over the whole series: the planted defect."""
        return x.mean(1, keepdim=True)


def leaky() -> nn.Module:
    """The model normalised by the whole series."""
    return feature_model(SeriesNormalised)


def clean() -> nn.Module:
    """The model normalised by the series so far."""
    return feature_model(RunningNormalised)


LEAK = PlantedLeak(
    name="reversible_instance_norm",
    mechanism="Every position is scaled and shifted by the mean and deviation of the whole series, detached.",
    origin="statistics over time as in RevIN; see Wan-Video/Wan2.1#294 for a normaliser over time",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    width=WIDTH,
)
