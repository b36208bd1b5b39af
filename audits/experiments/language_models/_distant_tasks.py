"""Sequences in which a few labelled tokens are determined by one token far back, and by nothing nearer.

`Recall` is multi-query associative recall as Zoology (arXiv:2312.04927) generates it. `Repeats` is our noise text with
planted copies. Both give the position of the token that determines each label, so that accuracy can be split by its
distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hubrouter.diagnostic.tasks.mqar import IGNORED, Mqar
from hubrouter.shapes import Int

NOWHERE = -1  # the evidence of a position without label


class Questions(NamedTuple):
    """Sequences, the label of each position (`IGNORED` where there is none) and the position that determines it."""

    tokens: Int[Tensor, "B N"]
    labels: Int[Tensor, "B N"]
    evidence: Int[Tensor, "B N"]


@dataclass(frozen=True)
class Recall:
    """Zoology's sequence: pairs of key and value, then every key once more; its value is the label there.

    A filler token never repeats a key of the sequence: in a small vocabulary it would, and so ask again.
    """

    vocab_size: int
    length: int
    pairs: int

    def draw(self, batch: int, generator: torch.Generator) -> Questions:
        """Sequences of `length` tokens with `pairs` labels each."""
        tokens, labels = Mqar(self.length, self.pairs, self.vocab_size).draw_all(batch, generator)
        keys = tokens[:, None, : 2 * self.pairs : 2]
        value = 2 * (tokens[..., None] == keys).byte().argmax(-1) + 1
        return Questions(tokens, labels, value.masked_fill(labels == IGNORED, NOWHERE))


@dataclass(frozen=True)
class Repeats:
    """Noise with `spans` spans of `width` tokens in the first `reach` tokens, copied among the last `reach` ones.

    No two tokens of the spans are equal, and no noise is: so a token of a copy has one earlier occurrence, whose
    successor is the label. A copy's first token is not asked for. Spans and copies start at multiples of `width`, each
    at a random one: distances vary from `length - 2 reach + width - 1` to `length - width - 1`. Every second token of a
    span is one of MQAR's keys, the others are its values, so that what is learnt there can be used.
    """

    vocab_size: int
    length: int
    spans: int
    width: int
    reach: int

    def __post_init__(self) -> None:
        if self.width % 2 or self.spans * self.width // 2 > self.vocab_size // 2 - 1:
            raise ValueError(
                f"{self.spans} spans of {self.width} tokens need an even width and more than {self.vocab_size}"
            )
        if self.spans > self.reach // self.width or 2 * self.reach > self.length:
            raise ValueError(f"{self.spans} spans of {self.width} do not fit twice, at {self.reach} of {self.length}")

    def draw(self, batch: int, generator: torch.Generator) -> Questions:
        """Sequences of `length` tokens with `spans * (width - 1)` labels each."""
        half, pairs = self.vocab_size // 2, self.spans * self.width // 2
        keys = _distinct(batch, half - 1, pairs, generator) + 1
        values = _distinct(batch, self.vocab_size - half, pairs, generator) + half
        content = torch.stack([keys, values], dim=2).flatten(1)
        tokens = torch.randint(self.vocab_size, (batch, self.length), generator=generator)
        planted = torch.zeros(batch, self.vocab_size, dtype=torch.bool).scatter_(1, content, True)
        tokens.masked_fill_(planted.gather(1, tokens), 0)
        source, copy = self._places(batch, generator), self._places(batch, generator) + self.length - self.reach
        tokens.scatter_(1, source, content).scatter_(1, copy, content)
        asked = copy.unflatten(1, (self.spans, -1))[..., :-1].flatten(1)
        known = source.unflatten(1, (self.spans, -1))[..., 1:].flatten(1)
        labels = torch.full_like(tokens, IGNORED).scatter_(1, asked, tokens.gather(1, known))
        return Questions(tokens, labels, torch.full_like(tokens, NOWHERE).scatter_(1, asked, known))

    def _places(self, batch: int, generator: torch.Generator) -> Int[Tensor, "B T"]:
        """Positions of the tokens of all spans, span by span."""
        start = self.width * _distinct(batch, self.reach // self.width, self.spans, generator)
        return (start[..., None] + torch.arange(self.width)).flatten(1)


TASKS = {"mqar": Recall, "repeats": Repeats}


def _distinct(batch: int, values: int, count: int, generator: torch.Generator) -> Int[Tensor, "B T"]:
    """`count` different numbers below `values` a row."""
    return torch.rand(batch, values, generator=generator).argsort(1)[:, :count]
