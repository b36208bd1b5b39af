"""A Bloom filter that holds the query's token: positions whose token may be in it are picked. Nothing is learned."""

from __future__ import annotations

from torch import Tensor

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.bloom import BloomFilter
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class Bloom(Router):
    """Score 1 where the filter says "maybe", else 0."""

    def __init__(self, config: DiagnosticConfig) -> None:  # noqa: ARG002
        super().__init__()
        self.filter = BloomFilter()

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token; representations are not used."""
        held = self.filter.of(batch.tokens.gather(1, batch.query[:, None]))
        return by_token(self.filter.contains(held, batch.tokens).to(h.dtype))


PART = Part("O(1) a token, no weights", Bloom)
