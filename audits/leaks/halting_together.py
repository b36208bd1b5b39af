"""A model that ponders until its slowest token has halted, and goes on changing those that had halted before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, running_mean, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

STEPS = 12  # most steps


class Pondering(nn.Module):
    """A recurrence in depth, [B, N, D] -> [B, N, D]: each position takes steps until its halting score reaches 1."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(2 * WIDTH, WIDTH)
        self.halt = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Ponder."""
        score, context = x.new_zeros(x.shape[:2]), running_mean(x)
        for _ in range(STEPS):
            going = score < 1
            if not bool(going.any()):
                break
            new = torch.tanh(self.step(torch.cat((x, context), -1)))
            x = torch.where(self.changes(going)[..., None], new, x)
            score = score + (4 * self.halt(x)[..., 0]).sigmoid()
        return x

    def changes(self, going: Tensor) -> Tensor:
        """Which positions a step changes, [B, N]: those that have not halted."""
        return going


class PonderingTogether(Pondering):
    """The same, as long as one position of the row goes on."""

    def changes(self, going: Tensor) -> Tensor:
        """All of a row: the planted defect."""
        return going.any(1, keepdim=True).expand_as(going)


def leaky() -> nn.Module:
    """The model that stops once all positions of a row have halted."""
    return token_model(PonderingTogether)


def clean() -> nn.Module:
    """The model in which every position stops by itself."""
    return token_model(Pondering)


LEAK = PlantedLeak(
    name="halting_together",
    mechanism="How often every position is updated depends on the slowest of the sequence, through a comparison.",
    origin="our own attack: adaptive computation time without a mask for what has halted; on trust in rounding",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
