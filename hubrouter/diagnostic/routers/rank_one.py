"""Rank-1 router (arXiv:2603.20997): one number per position, f_i = v·h_i, and scores f_i f_j.

For a given query the order of positions is that of f_j, or its reverse: the product with f_i can only change the sign.
"""

from __future__ import annotations

from torch import Tensor, nn

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class RankOne(Router):
    """Scores f_i f_j."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.fingerprint = nn.Linear(config.d_model, 1, bias=False)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token."""
        f = self.fingerprint(h).squeeze(-1)
        return by_token(f * f.gather(1, batch.query[:, None]))


PART = Part("O(D) a query, after O(N D) once", RankOne)
