"""Memory banks: tokens are sorted into 16 banks, of which the query reads two.

arXiv:2603.20997 reports 12 % for memory banks and does not describe them. This is our interpretation: a token's bank
and the query's choice of banks are both learned, by the probability that they agree. Two of 16 make chance 12.5 %.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores
from hubrouter.shapes import Float

BANKS, PICKED = 16, 2
BALANCE = 1.0  # weight of the penalty on uneven banks; without one, all tokens in one bank would always be right


class MemoryBanks(Router):
    """A linear map sorts tokens into banks, another one chooses banks for the query."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.sort = nn.Linear(config.d_model, BANKS)
        self.choose = nn.Linear(config.d_model, BANKS)

    def reading(self, asked: Reading) -> Reading:  # noqa: ARG002
        """Two banks."""
        return Reading(PICKED)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a bank."""
        return Scores(self.choose(at(h, batch.query)), self.sort(h).argmax(-1))

    def loss(self, scores: Scores, h: Float[Tensor, "B N D"], batch: Batch) -> Tensor:
        """Negative log-probability that query and answer choose the same bank, plus a penalty on uneven banks."""
        share = self.sort(h).softmax(-1)
        agree = torch.logsumexp(scores.unit.log_softmax(-1) + at(share, batch.answer).clamp_min(1e-9).log(), dim=-1)
        load = share.mean((0, 1))
        uneven = (load * (load * BANKS).clamp_min(1e-9).log()).sum()
        total: Tensor = F.relu(-agree.mean()) + BALANCE * uneven
        return total


PART = Part("O(16 D) a query, after O(16 N D) once", MemoryBanks)
