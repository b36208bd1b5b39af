"""The supervised routing task of the hub-count sweep: a header names types, tokens of those types are to be chosen.

A sequence is a header of one chunk and a body of whole chunks. The header names R of T types, at random places among
filler. Each body chunk holds exactly k tokens of named types at random places; the types of its other tokens are not
named. With T = R C / k every type is as frequent where it is named as where it is not, so neither a token alone, nor
its place, nor its frequency says anything: the header must be read. What is left is that a chunk never holds more than
k tokens of named types, a far weaker clue than the header. All choices are ours; the paper's sweep is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Sequences and what is to be chosen in them."""

    tokens: Tensor  # int64 [B, N]: header, then body
    relevant: Tensor  # bool [B, G, C]: True where a body token has a named type


@dataclass(frozen=True)
class Task:
    """Sequences of `length` N tokens in chunks of C that name R types and hold `relevant` k tokens of them a chunk.

    Token ids: 0..T-1 are the types in the body, T..2T-1 their names in the header, 2T is filler.

    Raises:
        ValueError: no body, a name without room in the header, or a number of types that is not whole.
    """

    named: int
    relevant: int
    chunk: int
    length: int

    def __post_init__(self) -> None:
        if self.length % self.chunk or self.length < 2 * self.chunk:
            raise ValueError(f"length {self.length} must be a multiple of chunk {self.chunk}, at least 2 chunks")
        if not (1 <= self.named <= self.chunk and 1 <= self.relevant < self.chunk):
            raise ValueError(f"need 1 <= named <= chunk and 1 <= relevant < chunk, got {self.named}, {self.relevant}")
        if self.named * self.chunk % self.relevant:
            raise ValueError(f"named * chunk = {self.named * self.chunk} must be a multiple of {self.relevant}")

    @property
    def types(self) -> int:
        """T, so that a named type is as frequent as any other."""
        return self.named * self.chunk // self.relevant

    @property
    def vocab_size(self) -> int:
        """Types, names and filler."""
        return 2 * self.types + 1

    @property
    def body_chunks(self) -> int:
        """G."""
        return self.length // self.chunk - 1

    @property
    def chance(self) -> float:
        """The recall of a choice that knows nothing."""
        return self.relevant / self.chunk

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        """`batch` sequences; the same state of a CPU generator gives the same ones."""
        order = _shuffled(batch, self.types, generator)  # a sequence's first R types are the named ones
        relevant = _shuffled(batch, self.body_chunks * self.chunk, generator, self.chunk) < self.relevant
        named = torch.randint(self.named, relevant.shape, generator=generator)
        other = torch.randint(self.named, self.types, relevant.shape, generator=generator)
        body = order.gather(1, torch.where(relevant, named, other))
        header = torch.full((batch, self.chunk), 2 * self.types)
        places = _shuffled(batch, self.chunk, generator)[:, : self.named]
        header.scatter_(1, places, order[:, : self.named] + self.types)
        return Batch(torch.cat([header, body], dim=1), relevant.view(batch, self.body_chunks, self.chunk))


def _shuffled(batch: int, length: int, generator: torch.Generator, within: int | None = None) -> Tensor:
    """Random orders of 0..within-1, one after the other, int64 [batch, length]; `within` is the length by default."""
    size = within or length
    return torch.rand(batch, length // size, size, generator=generator).argsort(-1).view(batch, length)


def recall(scores: Tensor, batch: Batch) -> float:
    """Recall@k: the share of relevant tokens among the k best scores [B, G, C] of their chunks, from 0 to 1.

    Equal scores are broken at random, and the mean over that is taken exactly: a router that cannot distinguish tokens
    gets the chance level itself, not a draw from around it.
    """
    relevant = batch.relevant.to(torch.float64)
    k = int(batch.relevant[0, 0].sum())
    border = scores.sort(-1, descending=True).values[..., k - 1 : k]
    above, tied = (scores > border).to(torch.float64), (scores == border).to(torch.float64)
    share = (k - above.sum(-1, keepdim=True)) / tied.sum(-1, keepdim=True)
    found = (relevant * (above + tied * share)).sum(-1)
    return float(found.mean()) / k
