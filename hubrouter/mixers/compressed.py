"""`C`: attention to compressed keys and values, our causal form of Linformer (arXiv:2006.04768).

The original mixes all positions of a sequence into r keys and values, later ones too, so it cannot be a language model.
Here a query reads its own block of C tokens exactly, up to itself, and of each earlier, complete block r keys and
values, which are trained linear maps of the block's. Cost O(N C D + N^2 D r / C), and the state of a stream grows by
r keys and values a block: less than attention by C / r, but not constant.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ModelConfig
from hubrouter.mixers._heads import RotaryHeads
from hubrouter.mixers._padding import zeroed
from hubrouter.shapes import Bool, Float

LETTER = "C"


class CompressedState(NamedTuple):
    """Rotated keys and values: compressed ones of all complete blocks, and those of the open block's S < C tokens."""

    k: Float[Tensor, "B H Y E"]  # Y = r times the number of complete blocks
    v: Float[Tensor, "B H Y E"]
    open_k: Float[Tensor, "B H S E"]
    open_v: Float[Tensor, "B H S E"]


class CompressedAttention(RotaryHeads):
    """Softmax attention to r = `summaries` keys of each block of C = `chunk` tokens before, and to the own block."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.chunk = config.chunk
        # Shared by heads, not by keys and values. Sums of C entries start with the scale of one (our choice).
        self.compress = nn.Parameter(torch.randn(2, config.summaries, config.chunk) / config.chunk**0.5)

    def forward(self, x: Float[Tensor, "B N D"], valid: Bool[Tensor, "B N"] | None = None) -> Float[Tensor, "B N D"]:
        """Attend; `valid` is True where a token is real.

        Positions and blocks count padding; padding enters a compressed key with 0, a block of padding alone is not
        read, and outputs at padding are zero.
        """
        return zeroed(self._advance(zeroed(x, valid), valid, None)[0], valid)

    def stream(
        self, x: Float[Tensor, "B N D"], state: CompressedState | None = None
    ) -> tuple[Float[Tensor, "B N D"], CompressedState]:
        """Attend from the next N >= 1 tokens of a stream, in pieces of any sizes; equals `forward` on the whole."""
        return self._advance(x, None, state)

    def _advance(
        self, x: Tensor, valid: Tensor | None, state: CompressedState | None
    ) -> tuple[Tensor, CompressedState]:
        closed, opened = (0, 0) if state is None else (self._blocks(state.k), state.open_k.shape[2])
        q, k, v = self.heads(x, closed * self.chunk + opened)
        if state is not None:
            k, v = torch.cat([state.open_k, k], dim=2), torch.cat([state.open_v, v], dim=2)
        real = x.new_ones(1, k.shape[2], dtype=torch.bool) if valid is None else valid
        complete = k.shape[2] // self.chunk * self.chunk
        short_k, short_v = (_compressed(t[:, :, :complete], by) for t, by in zip((k, v), self.compress, strict=True))
        read = real[:, :complete].unflatten(1, (-1, self.chunk)).any(-1)
        if state is not None:
            short_k, short_v = torch.cat([state.k, short_k], dim=2), torch.cat([state.v, short_v], dim=2)
            read = F.pad(read, (closed, 0), value=True)
        mixed = self._mixed(q, _Tokens(k, v, real), _Tokens(short_k, short_v, read), closed)
        # Copies: views would keep the whole piece in memory.
        following = CompressedState(short_k, short_v, k[:, :, complete:].clone(), v[:, :, complete:].clone())
        return self._merge(mixed), following

    def _mixed(self, q: Float[Tensor, "B H N E"], recent: _Tokens, short: _Tokens, closed: int) -> Tensor:
        """Attention of the last N of the recent T tokens, the first of which opens block number `closed`."""
        length, total = q.shape[2], recent.k.shape[2]
        # Where all are in one block, only the N queries are computed; else whole blocks of them.
        size, ahead = (total, 0) if total <= self.chunk else (self.chunk, total - length)
        missing = -total % size
        q = F.pad(q, (0, 0, ahead, missing)).unflatten(2, (-(-total // size), -1)) / q.shape[-1] ** 0.5
        k, v = (F.pad(t, (0, 0, 0, missing)).unflatten(2, (-1, size)) for t in recent[:2])
        real = F.pad(recent.real, (0, missing)).unflatten(1, (-1, size))
        near = torch.ones(q.shape[3], size, dtype=torch.bool, device=q.device).tril(size - q.shape[3])
        # Every query attends to itself, at padding too, so that no row of the softmax is empty.
        own = (near & real[:, :, None] | near.triu(size - q.shape[3]))[:, None]
        block = torch.arange(short.real.shape[1], device=q.device)
        earlier = block < closed + torch.arange(q.shape[2], device=q.device)[:, None]
        earlier = (earlier & short.real[:, None]).repeat_interleave(self.compress.shape[1], -1)[:, None, :, None]
        logits = [
            (q @ short.k[:, :, None].mT).masked_fill(~earlier, -torch.inf),
            (q @ k.mT).masked_fill(~own, -torch.inf),
        ]
        far_weight, own_weight = torch.cat(logits, dim=-1).softmax(-1).split([short.k.shape[2], size], dim=-1)
        mixed: Tensor = far_weight @ short.v[:, :, None] + own_weight @ v
        return mixed.flatten(2, 3)[:, :, ahead : ahead + length]

    def _blocks(self, k: Float[Tensor, "B H Y E"]) -> int:
        return k.shape[2] // self.compress.shape[1]


class _Tokens(NamedTuple):
    """Keys, values and whether a token, or any of a compressed block, is real."""

    k: Tensor
    v: Tensor
    real: Tensor


def _compressed(blocks: Float[Tensor, "B H T E"], by: Float[Tensor, "Y C"]) -> Float[Tensor, "B H Z E"]:
    """Whole blocks of C keys or values, each replaced by Y linear combinations."""
    short: Tensor = by @ blocks.unflatten(2, (-1, by.shape[1]))
    return short.flatten(2, 3)


def build(config: ModelConfig) -> CompressedAttention:
    """One layer of the model."""
    return CompressedAttention(config)
