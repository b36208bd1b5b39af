"""Cosine similarity of the representations of query and positions; nothing is learned here."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float

SHARPNESS = 10.0  # factor on cosines before the softmax of the loss (our choice)


class Cosine(Router):
    """Scores from the angle between two representations."""

    def __init__(self, config: DiagnosticConfig) -> None:  # noqa: ARG002
        super().__init__()

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token."""
        return by_token(F.cosine_similarity(at(h, batch.query)[:, None], h, dim=-1) * SHARPNESS)


PART = Part("O(N D) a query", Cosine)
