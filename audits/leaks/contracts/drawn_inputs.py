"""A model whose inputs no kind describes, drawn by a function: ratings that must be whole numbers, with weekdays."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

RATINGS, DAYS, AGES = 6, 7, 4


def drawn(batch: int, length: int, generator: Any) -> dict[str, Tensor]:
    """Ratings from 0 to 5 [B, N], the days they were given [B, N], and the age group of each user [B]."""
    return {
        "ratings": torch.randint(RATINGS, (batch, length), generator=generator),
        "days": torch.randint(3, (batch, length), generator=generator).cumsum(1),
        "age": torch.randint(AGES, (batch,), generator=generator),
    }


class RatingModel(nn.Module):
    """Ratings and days [B, N] and the age group [B] to the expected next rating [B, N]."""

    def __init__(self) -> None:
        super().__init__()
        self.ratings, self.weekdays = nn.Embedding(RATINGS, WIDTH), nn.Embedding(DAYS, WIDTH)
        self.ages, self.head = nn.Embedding(AGES, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, ratings: Tensor, days: Tensor, age: Tensor) -> Tensor:
        """Summarise ratings by the weekday on which each was given."""
        events = self.ratings(ratings) * self.weekdays(self.day(days) % DAYS)
        expected: Tensor = self.head((running_mean(events) + self.ages(age)[:, None]).tanh())[..., 0]
        return expected

    def day(self, days: Tensor) -> Tensor:
        """The day that goes with each rating."""
        return days


class NextDayModel(RatingModel):
    """The same with the days of the next ratings."""

    def day(self, days: Tensor) -> Tensor:
        """One step ahead: the planted defect."""
        return F.pad(days, (0, 1))[:, 1:]


LEAK = ContractLeak(
    name="drawn_inputs",
    mechanism="A forecast depends on the day of the next rating, because days are shifted by one.",
    leaky=lambda: seeded(NextDayModel),
    clean=lambda: seeded(RatingModel),
    contract=Contract(inputs=drawn),
    reads=lambda source, sink: source == sink + 1,
    line="self.ratings(ratings) * self.weekdays(",
    argument="days",
)
