"""The mean of the whole sequence is added to every position, detached so that no gradient shows it."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, running_mean, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RunningMean(nn.Module):
    """Each position plus the detached mean of the sequence so far, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Linear(WIDTH, WIDTH)
        self.context = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Add the projected context."""
        y: Tensor = self.own(x) + self.context(self.average(x).detach())
        return y

    def average(self, x: Tensor) -> Tensor:
        """The mean over each position and those before it."""
        return running_mean(x)


class SequenceMean(RunningMean):
    """The same with the mean of all positions."""

    def average(self, x: Tensor) -> Tensor:
        """The mean over the whole sequence: the planted defect."""
        return x.mean(1, keepdim=True)


def leaky() -> nn.Module:
    """The model that uses the mean of the whole sequence."""
    return token_model(SequenceMean)


def clean() -> nn.Module:
    """The model that uses the mean so far."""
    return token_model(RunningMean)


LEAK = PlantedLeak(
    name="detached_sequence_mean",
    mechanism="Every position receives the mean of the whole sequence; the mean is detached, so gradients are blind.",
    origin="our own attack: on gradient checks",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
