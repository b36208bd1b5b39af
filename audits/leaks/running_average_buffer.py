"""A running average updated by every forward pass, evaluation included: a call depends on the calls before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

RATE = 0.1


class FixedCentre(nn.Module):
    """A projection centred by a stored vector, [B, N, D] -> [B, N, D]."""

    centre: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("centre", torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Centre and project, then remember."""
        y: Tensor = self.project(x - self.centre)
        self.remember(x)
        return y

    def remember(self, x: Tensor) -> None:
        """Keep nothing: the centre is calibrated once, not while predicting."""


class RunningCentre(FixedCentre):
    """The same with a centre that follows every input."""

    @torch.no_grad()
    def remember(self, x: Tensor) -> None:
        """Move the centre towards the mean over rows and positions: the planted defect."""
        self.centre.lerp_(x.mean((0, 1)), RATE)


def leaky() -> nn.Module:
    """The model that remembers its calls."""
    return token_model(RunningCentre)


def clean() -> nn.Module:
    """The model that answers the same question alike."""
    return token_model(FixedCentre)


LEAK = PlantedLeak(
    name="running_average_buffer",
    mechanism="The same input is answered differently after another call, because forward moves a running average.",
    origin="our own attack: on audits that compare two calls without asking whether calls are independent",
    leak_class=LeakClass.STATE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
