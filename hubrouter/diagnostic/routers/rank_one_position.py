"""The rank-1 router without its pair: scores f_j alone, the attack on "pairwise" (our control)."""

from __future__ import annotations

from torch import Tensor, nn

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class RankOnePosition(Router):
    """Scores f_j, whatever the query is."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.fingerprint = nn.Linear(config.d_model, 1, bias=False)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:  # noqa: ARG002
        """One score a token."""
        return by_token(self.fingerprint(h).squeeze(-1))


PART = Part("O(1) a query, after O(N D) once", RankOnePosition)
