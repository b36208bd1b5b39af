"""Closed-loop refinement: what was read updates the query, which routes again (the paper's "DOL" as we read it)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float

ROUNDS = 3


class ClosedLoop(Router):
    """An Investigator whose query is updated, between rounds, by what its softmax over positions reads."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.query, self.key, self.value, self.update = (
            nn.Linear(config.d_model, config.d_model, bias=False) for _ in range(4)
        )
        self.scale = config.d_model**-0.5

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token, those of the last round."""
        asking, key, value = at(h, batch.query), self.key(h), self.value(h)
        for _ in range(ROUNDS - 1):
            read = torch.einsum("bn,bnd->bd", self._scores(asking, key).softmax(-1), value)
            asking = asking + self.update(read)
        return by_token(self._scores(asking, key))

    def _scores(self, asking: Tensor, key: Tensor) -> Tensor:
        scores: Tensor = torch.einsum("bd,bnd->bn", self.query(asking), key) * self.scale
        return scores


PART = Part("O(N D) a query and round", ClosedLoop)
