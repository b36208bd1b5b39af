"""Segment routing: the sequence in 16 equal segments, of which four are read.

Four of 16 is our interpretation: it makes chance the 25 % around which the paper's results for segments lie.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.diagnostic.config import DiagnosticConfig
from hubrouter.diagnostic.router import at
from hubrouter.diagnostic.routers.investigator import Investigator
from hubrouter.diagnostic.scores import Scores
from hubrouter.shapes import Float

SEGMENTS, PICKED = 16, 4


class Segments(Investigator):
    """An Investigator on pooled segments.

    Raises:
        ValueError: the sequence cannot be divided into 16 equal segments.
    """

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__(config)
        if config.length % SEGMENTS:
            raise ValueError(f"length must be a multiple of {SEGMENTS} for segments, not {config.length}")
        self.scale = config.d_model**-0.5

    @abstractmethod
    def pooled(self, h: Float[Tensor, "B U T D"]) -> Float[Tensor, "B U D"]:
        """The representation of a segment."""

    def reading(self, asked: Reading) -> Reading:  # noqa: ARG002
        """Four segments, without successors."""
        return Reading(PICKED)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a segment."""
        keys = self.key(self.pooled(h.unflatten(1, (SEGMENTS, -1))))
        score = torch.einsum("bd,bud->bu", self.query(at(h, batch.query)), keys) * self.scale
        size = h.shape[1] // SEGMENTS
        home = torch.arange(h.shape[1], device=h.device) // size
        return Scores(score, home.expand(len(h), -1))
