"""Segment routing by the largest value of each feature over a segment (arXiv:2603.20997: 32 tokens of 512)."""

from __future__ import annotations

from torch import Tensor

from hubrouter.diagnostic.config import Part
from hubrouter.diagnostic.routers._segments import Segments
from hubrouter.shapes import Float


class SegmentMax(Segments):
    """Segments are represented by their largest features."""

    def pooled(self, h: Float[Tensor, "B U T D"]) -> Float[Tensor, "B U D"]:
        """The maximum over a segment's tokens."""
        return h.amax(2)


PART = Part("O(N D / segment) a query", SegmentMax)
