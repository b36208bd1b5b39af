"""Segment routing by the mean of each feature over a segment (arXiv:2603.20997: 32 tokens of 512)."""

from __future__ import annotations

from torch import Tensor

from hubrouter.diagnostic.config import Part
from hubrouter.diagnostic.routers._segments import Segments
from hubrouter.shapes import Float


class SegmentMean(Segments):
    """Segments are represented by their mean features."""

    def pooled(self, h: Float[Tensor, "B U T D"]) -> Float[Tensor, "B U D"]:
        """The mean over a segment's tokens."""
        return h.mean(2)


PART = Part("O(N D / segment) a query", SegmentMean)
