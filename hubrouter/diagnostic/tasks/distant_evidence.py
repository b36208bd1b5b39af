"""Distant evidence retrieval (arXiv:2603.20997): find the other occurrence of a key, and what follows it.

The paper's worked example: query 42 at position 51, answer (42, 17) at 350 and 351. What it does not specify is a
parameter here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.shapes import Bool, Int

SIDES = ("before", "after", "either")


@dataclass(frozen=True)
class DistantEvidence:
    """A query key, one matching (key, value) pair on the other side of `distance`, and distractor pairs on this side.

    Attributes:
        length: tokens N; 512 in the paper.
        distance: in the far version the answer is at least this far from the query and distractors are nearer; in the
            near version the other way round. 200 in the paper.
        vocab_size: tokens are in [1, vocab_size); 256 in the paper.
        distractors: pairs that look like an answer ("plausible", number and kind not printed).
        same_key: distractors carry the query's key, so that only the distance distinguishes them from the answer;
            else they share another key, which occurs nowhere else.
        side: of the query on which the answer lies: "before", "after" or "either".
        far: the far version, or the near one.
        picks: tokens picked; the token after each is read too, so k is twice that. The paper's chance of 1.6 % is that
            of k = 8 (our interpretation).
        value: the position to be found is that of the value, which says nothing of the key; else that of the key, with
            which the value is read. The paper does not say which its router is trained to find.

    Raises:
        ValueError: an unknown side, or no room for query, answer and distractors.
    """

    length: int = 512
    distance: int = 200
    vocab_size: int = 256
    distractors: int = 4
    same_key: bool = True
    side: str = "either"
    far: bool = True
    picks: int = 4
    value: bool = False

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise ValueError(f"side must be one of {', '.join(SIDES)}, not {self.side!r}")
        if self.vocab_size < 4:
            raise ValueError(f"vocab_size must be at least 4, not {self.vocab_size}")
        if not len(_places(self.length, self.distance, self.side, self.far)):
            raise ValueError(f"no answer fits: length {self.length}, distance {self.distance}, side {self.side}")

    @property
    def reading(self) -> Reading:
        """Picked tokens with their successors."""
        return Reading(self.picks, successors=True)

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        """Query, answer and distractors at uniformly drawn positions, everything else noise."""
        places = _places(self.length, self.distance, self.side, self.far)
        query, answer = places[torch.randint(len(places), (batch,), generator=generator)].unbind(1)
        key, other = self._two_keys(batch, generator)
        tokens = self._noise(key, other, generator)
        starts = self._starts(query, answer, generator)
        tokens.scatter_(1, starts, (key if self.same_key else other)[:, None].expand_as(starts))
        row = torch.arange(batch)
        tokens[row, query] = tokens[row, answer] = key
        candidates = torch.ones_like(tokens, dtype=torch.bool).scatter_(1, query[:, None], False)
        return Batch(tokens, query, answer + self.value, tokens[row, answer + 1], candidates)

    def _two_keys(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The query's key and the distractors', different ones."""
        key = torch.randint(1, self.vocab_size, (batch,), generator=generator)
        other = torch.randint(1, self.vocab_size - 1, (batch,), generator=generator)
        return key, other + (other >= key)

    def _noise(self, key: Tensor, other: Tensor, generator: torch.Generator) -> Int[Tensor, "B N"]:
        """Any tokens except the two keys, so that there is no unintended match."""
        tokens = torch.randint(1, self.vocab_size - 2, (len(key), self.length), generator=generator)
        for taken in torch.stack([key, other]).sort(0).values:  # every id from the lower key on is raised by one
            tokens += tokens >= taken[:, None]
        return tokens

    def _starts(self, query: Tensor, answer: Tensor, generator: torch.Generator) -> Int[Tensor, "B P"]:
        """First positions of the distractor pairs: even ones, so that no two overlap."""
        if not self.distractors:
            return query.new_empty(len(query), 0)
        start = torch.arange(0, self.length - 1, 2)
        free = _on_side(start[None] - query[:, None], self.distance, not self.far)
        for taken in (query, answer, answer + 1):
            free &= (start != taken[:, None]) & (start + 1 != taken[:, None])
        order = torch.rand(free.shape, generator=generator).masked_fill(~free, -1).topk(self.distractors)
        if (order.values < 0).any():
            raise ValueError(f"no place for {self.distractors} distractors: choose fewer, or another distance")
        return start[order.indices]


def _on_side(offset: Tensor, distance: int, far: bool) -> Bool[Tensor, "*shape"]:
    """Whether something this far from the query is on the answer's side of the distance."""
    return offset.abs() >= distance if far else offset.abs() < distance


@lru_cache(maxsize=8)
def _places(length: int, distance: int, side: str, far: bool) -> Int[Tensor, "P 2"]:
    """All (query, answer) positions; the value after the answer must fit and must not be the query."""
    query, answer = torch.meshgrid(torch.arange(length), torch.arange(length - 1), indexing="ij")
    fits = _on_side(answer - query, distance, far) & (answer != query) & (answer + 1 != query)
    if side != "either":
        fits &= answer < query if side == "before" else answer > query
    return torch.stack([query[fits], answer[fits]], dim=1)
