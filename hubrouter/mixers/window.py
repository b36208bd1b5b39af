"""`W`: softmax attention over a sliding window, with rotary embedding (Longformer, arXiv:2004.05150, section 3.1).

Queries are taken in blocks of W tokens, each with the keys of its own and the W - 1 tokens before: O(N W D), in
memory too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.mixers._heads import RotaryHeads
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

LETTER = "W"


class WindowState(NamedTuple):
    """Rotated keys and values of the last P < W tokens, and the number of all tokens before."""

    k: Float[Tensor, "B H P E"]
    v: Float[Tensor, "B H P E"]
    position: int


class WindowAttention(RotaryHeads):
    """Softmax attention over the last W = `window` positions, the query's own included."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.window = config.window

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Attend; `valid` is True where a token is real, outputs at padding are zero, and positions count padding."""
        return zeroed(self._advance(zeroed(x, valid), valid, None)[0], valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: WindowState | None = None
    ) -> tuple[Float[Tensor, "B N D"], WindowState]:
        """Attend from the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole."""
        return self._advance(x, None, state)

    def _advance(self, x: Tensor, valid: Tensor | None, state: WindowState | None) -> tuple[Tensor, WindowState]:
        start = 0 if state is None else state.position
        q, k, v = self.heads(x, start)
        if state is not None:
            k, v = torch.cat([state.k, k], dim=2), torch.cat([state.v, v], dim=2)
        after = max(0, k.shape[2] - self.window + 1)
        # Copies: views would keep the whole piece in memory.
        following = WindowState(k[:, :, after:].clone(), v[:, :, after:].clone(), start + x.shape[1])
        real = x.new_ones(1, x.shape[1], dtype=torch.bool) if valid is None else valid
        return self._merge(_windowed(q, k, v, real, min(self.window, k.shape[2]))), following


def _windowed(
    q: Float[Tensor, "B H N E"],
    k: Float[Tensor, "B H T E"],
    v: Float[Tensor, "B H T E"],
    real: Bool[Tensor, "R N"],
    window: int,
) -> Float[Tensor, "B H N E"]:
    """Attention of the last N of T tokens, all of which before them are real, each over its last `window` tokens."""
    (batch, _, length, _), past = q.shape, k.shape[2] - q.shape[2]
    block = min(window, length)
    missing, ahead = -length % block, window - 1 - past
    real = F.pad(F.pad(real, (past, 0), value=True), (ahead, missing)).unfold(1, block + window - 1, block)
    k, v = (F.pad(t, (0, 0, ahead, missing)).unfold(2, block + window - 1, block).mT for t in (k, v))
    q = F.pad(q, (0, 0, 0, missing)).unflatten(2, (-1, block))
    near = torch.ones(block, block + window - 1, dtype=torch.bool, device=q.device).triu().tril(window - 1)
    # Every query attends to itself, at padding too, so that no row of the softmax is empty.
    mask = (near & real[:, :, None] | near.triu(window - 1)).expand(batch, -1, -1, -1)
    q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.flatten(0, 1)[:, None])
    blocks: Tensor = mixed.unflatten(0, (batch, -1)).transpose(1, 2)
    return blocks.flatten(2, 3)[:, :, :length]


def build(config: ModelConfig) -> WindowAttention:
    """One layer of the model."""
    return WindowAttention(config)
