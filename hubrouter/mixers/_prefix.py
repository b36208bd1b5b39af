"""Attention whose weights are products of features, so that sums over the prefix replace the tokens: O(N).

Linear attention and Performer differ in their features alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.decayed_sums import decayed_sums
from hubrouter.mixers._heads import RotaryHeads
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

SMALLEST = 1e-6  # total weight below which an output shrinks towards 0; Katharopoulos et al. add this number instead


class Weighted(NamedTuple):
    """Query and key features, not negative, and how the sums over earlier keys are rescaled at each token."""

    q: Float[Tensor, "B N H F"]
    k: Float[Tensor, "B N H F"]
    log_decay: Float[Tensor, "R N H"]
    peak: Float[Tensor, "B H"] | None


class PrefixState(NamedTuple):
    """All that is kept of the tokens before; its size does not grow with their number."""

    sums: Float[Tensor, "B H F T"]  # of k v^T, and of k in the last column: T = E + 1
    peak: Float[Tensor, "B H"] | None  # the logarithm of the scale of the sums; None for 0
    position: int


class PrefixAttention(RotaryHeads, ABC):
    """Output t is the mean of the values of tokens 0 ... t, weighted by q_t . k_j for features q and k.

    Queries and keys are rotated by position before they become features (our choice; the papers add positions to the
    embedding). Features and sums are computed in at least float32, under autocast too.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.chunk = config.ssm_chunk

    @abstractmethod
    def weighted(self, q: Tensor, k: Tensor, real: Bool[Tensor, "R N"], peak: Tensor | None) -> Weighted:
        """Features of queries and keys [B, N, H, E]; keys at padding have features 0."""

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Attend; `valid` is True where a token is real, outputs at padding are zero, and positions count padding."""
        return zeroed(self._advance(zeroed(x, valid), valid, None)[0], valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: PrefixState | None = None
    ) -> tuple[Float[Tensor, "B N D"], PrefixState]:
        """Attend from the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole."""
        return self._advance(x, None, state)

    def _advance(self, x: Tensor, valid: Tensor | None, state: PrefixState | None) -> tuple[Tensor, PrefixState]:
        start = 0 if state is None else state.position
        exact = torch.promote_types(x.dtype, torch.float32)
        q, k, v = (tensor.transpose(1, 2).to(exact) for tensor in self.heads(x, start))
        real = x.new_ones(1, x.shape[1], dtype=torch.bool) if valid is None else valid
        with torch.autocast(x.device.type, enabled=False):
            parts = self.weighted(q, k, real, None if state is None else state.peak)
            v = F.pad(v, (0, 1), value=1.0)
            before = v.new_zeros(len(x), self.n_heads, parts.k.shape[-1], v.shape[-1]) if state is None else state.sums
            y, sums = decayed_sums(parts.q, parts.k, v, parts.log_decay, before, self.chunk)
            mean = y[..., :-1] / y[..., -1:].clamp(min=SMALLEST)
        return self._merge(mean.to(x.dtype).transpose(1, 2)), PrefixState(sums, parts.peak, start + x.shape[1])
