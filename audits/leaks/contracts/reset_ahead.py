"""A recurrent policy that empties its memory one step before an episode ends."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks.contracts._parts import WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

OBSERVED = 4


class EpisodePolicy(nn.Module):
    """Observations [B, N, 4], and where episodes begin, to actions [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.inlet, self.cell, self.head = nn.Linear(OBSERVED, WIDTH), nn.GRUCell(WIDTH, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, observations: Tensor, resets: Tensor) -> Tensor:
        """Step by step; the memory is emptied where an episode begins."""
        x, keep = self.inlet(observations), 1.0 - self.begins(resets.to(observations.dtype))
        memory, actions = x.new_zeros(len(x), WIDTH), []
        for t in range(x.shape[1]):
            memory = self.cell(x[:, t], memory * keep[:, t, None])
            actions.append(self.head(memory))
        return torch.stack(actions, 1)

    def begins(self, resets: Tensor) -> Tensor:
        """Whether each step is the first one of an episode, [B, N]."""
        return resets


class HastyPolicy(EpisodePolicy):
    """The same, a step early."""

    def begins(self, resets: Tensor) -> Tensor:
        """Whether the next step is: the planted defect."""
        return F.pad(resets, (0, 1))[:, 1:]


LEAK = ContractLeak(
    name="reset_ahead",
    mechanism="An action depends on whether an episode begins at the next step, because resets are read one ahead.",
    leaky=lambda: seeded(HastyPolicy),
    clean=lambda: seeded(EpisodePolicy),
    contract=Contract(inputs={"observations": f"past:features:{OBSERVED}", "resets": "past:flags"}),
    reads=lambda source, sink: source == sink + 1,
    line="memory * keep[:, t, None]",
    argument="resets",
    seq_len=16,
)
