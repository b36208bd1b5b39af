"""Decoding piece by piece, for the planted leaks that decode differently from how they were trained.

The protocol: `stream(tokens, state=None) -> (outputs, state)`, outputs covering exactly the new positions; fed piece by
piece, a model must return what `forward` returns for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, Block, CausalAttention, Model, seeded
from audits.leaks._rotary import rotate


@dataclass(frozen=True)
class Cache:
    """Rotated keys and values of all positions so far, both [B, N, D]."""

    keys: Tensor
    values: Tensor

    @property
    def length(self) -> int:
        """How many positions it holds."""
        return self.keys.shape[1]


class CachedAttention(CausalAttention):
    """Causal rotary attention that can be continued from a cache; leaks break only the continuation."""

    def forward(self, x: Tensor) -> Tensor:
        """The whole sequence at once, right in every leak."""
        empty = x[:, :0]
        return self.extend(x, Cache(empty, empty), 0, _later(0, x))[0]

    def stream(self, x: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
        """The positions after those in the cache."""
        cache = cache or Cache(x[:, :0], x[:, :0])
        return self.extend(x, cache, self.start(cache.length), self.hidden(cache.length, x))

    def extend(self, x: Tensor, cache: Cache, start: int, hidden: Tensor) -> tuple[Tensor, Cache]:
        """Attend from x, whose first position is `start`, to cache and x except where `hidden` [N, cache + N]."""
        keys = torch.cat((cache.keys, rotate(self.key(x), start)), dim=1)
        values = torch.cat((cache.values, self.value(x)), dim=1)
        scores = self.score(rotate(self.query(x), start), keys).masked_fill(hidden, -math.inf)
        return self.out(self.weights(scores) @ values), Cache(keys, values)

    def start(self, past: int) -> int:
        """The position of the first new token after `past` cached ones."""
        return past

    def hidden(self, past: int, x: Tensor) -> Tensor:
        """Which keys are later than each new query: bool [N, past + N]."""
        return _later(past, x)


def _later(past: int, x: Tensor) -> Tensor:
    new = x.shape[1]
    return torch.ones(new, past + new, dtype=torch.bool, device=x.device).triu(past + 1)


class StreamingModel(Model):
    """A language model with one block of cached attention, and the streaming protocol."""

    def __init__(self, attention: CachedAttention) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [attention], outputs=VOCAB)

    def stream(self, tokens: Tensor, state: Cache | None = None) -> tuple[Tensor, Cache]:
        """Outputs [B, N, V] at the new tokens [B, N], and the state to continue from."""
        block, x = self.blocks[0], self.embed(tokens)
        assert isinstance(block, Block)
        assert isinstance(block.mixer, CachedAttention)
        mixed, state = block.mixer.stream(block.mixer_norm(x), state)
        return self.read(block.finish(x + mixed)), state


def streaming_model(attention: Callable[[], CachedAttention]) -> nn.Module:
    """A seeded streaming language model over VOCAB ids."""
    return seeded(lambda: StreamingModel(attention()))
