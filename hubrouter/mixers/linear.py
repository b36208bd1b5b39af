"""`L`: linear attention with the features elu + 1 (Katharopoulos et al., arXiv:2006.16236)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.mixers._prefix import PrefixAttention, Weighted
from hubrouter.shapes import Bool

LETTER = "L"


class LinearAttention(PrefixAttention):
    """Attention whose weights are (elu(q_t) + 1) . (elu(k_j) + 1), normalised over the prefix."""

    def weighted(self, q: Tensor, k: Tensor, real: Bool[Tensor, "R N"], peak: Tensor | None) -> Weighted:
        """Features of the same width; sums are never rescaled."""
        k = (F.elu(k) + 1).masked_fill(~real[..., None, None], 0)
        return Weighted(F.elu(q) + 1, k, q.new_zeros(1, *q.shape[1:3]), peak)


def build(config: ModelConfig) -> LinearAttention:
    """One layer of the model."""
    return LinearAttention(config)
