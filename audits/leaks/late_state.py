"""A layer that recalibrates on its sixth call: five calls give the same output, and every later one gives another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

WARM_UP = 5  # calls


class Calibrated(nn.Module):
    """A projection scaled by stored factors, [B, N, D] -> [B, N, D]; it counts its calls."""

    scale: Tensor
    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("scale", torch.ones(WIDTH))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Count the call, and project."""
        self.calls += 1
        if self.calls > WARM_UP:
            self.calibrate(x)
        y: Tensor = self.project(x * self.scale)
        return y

    def calibrate(self, x: Tensor) -> None:
        """Keep the factors that were stored."""


class LateCalibration(Calibrated):
    """The same with factors that follow the input after the warm-up."""

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Scale to the first position of this call: the planted defect."""
        self.scale.copy_(1 + x[:, 0].abs().mean(0))


def leaky() -> nn.Module:
    """The model that changes after its warm-up."""
    return token_model(LateCalibration)


def clean() -> nn.Module:
    """The model that counts its calls and answers alike."""
    return token_model(Calibrated)


LEAK = PlantedLeak(
    name="late_state",
    mechanism="From its sixth call on a layer rescales itself to what it is given; five calls in a row show nothing.",
    origin="our own attack: on audits that repeat a call once",
    leak_class=LeakClass.STATE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
