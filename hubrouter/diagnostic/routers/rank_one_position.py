"""The rank-1 router without the query's factor: scores f_j, a control for the claim "pairwise" (ours)."""

from __future__ import annotations

from torch import Tensor

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import Part
from hubrouter.diagnostic.routers.rank_one import RankOne
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class RankOnePosition(RankOne):
    """Scores f_j, whatever the query is."""

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:  # noqa: ARG002
        """One score a token."""
        return by_token(self.fingerprint(h).squeeze(-1))


PART = Part("O(1) a query, after O(N D) once", RankOnePosition)
