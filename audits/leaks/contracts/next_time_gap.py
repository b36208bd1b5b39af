"""A model of events in continuous time that knows how long it is until the next one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import VOCAB, WIDTH, running_mean, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract


class EventModel(nn.Module):
    """Kinds [B, N] and times [B, N] of events to the scores [B, N, V] of the next kind."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.gaps = nn.Embedding(VOCAB, WIDTH), nn.Linear(1, WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, kinds: Tensor, times: Tensor) -> Tensor:
        """Summarise events with their distances in time."""
        events = self.kinds(kinds) + self.gaps(self.gap(times)[..., None])
        scores: Tensor = self.head(running_mean(events).tanh())
        return scores

    def gap(self, times: Tensor) -> Tensor:
        """The time since the event before, [B, N]."""
        return times - F.pad(times, (1, 0))[:, :-1]


class ForeseeingEventModel(EventModel):
    """The same with distances to the next event."""

    def gap(self, times: Tensor) -> Tensor:
        """The time until the event after: the planted defect."""
        return F.pad(times, (0, 1))[:, 1:] - times


LEAK = ContractLeak(
    name="next_time_gap",
    mechanism="Scores depend on the time of the next event, because the distance in time is taken forwards.",
    leaky=lambda: seeded(ForeseeingEventModel),
    clean=lambda: seeded(EventModel),
    contract=Contract(inputs={"kinds": "past:tokens", "times": "past:times"}),
    reads=lambda source, sink: source == sink + 1,
    line="F.pad(times, (0, 1))[:, 1:] - times",
    argument="times",
    vocab_size=VOCAB,
)
