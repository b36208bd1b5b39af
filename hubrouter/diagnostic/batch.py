"""Questions for a router: sequences in which the token at one position, the query, matches one at another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hubrouter.shapes import Bool, Int


class Batch(NamedTuple):
    """B sequences of N tokens with one question each.

    Attributes:
        tokens: token ids.
        query: its position.
        answer: the position to be found.
        label: the token to be predicted at the query.
        candidates: True where a router may pick.
    """

    tokens: Int[Tensor, "B N"]
    query: Int[Tensor, " B"]
    answer: Int[Tensor, " B"]
    label: Int[Tensor, " B"]
    candidates: Bool[Tensor, "B N"]

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device) for part in self))


@dataclass(frozen=True)
class Reading:
    """What is read, given scores: the `picks` best units, and the token after each one with `successors`.

    A unit is a token, unless a router scores segments or banks of tokens. "Neighbour expansion: selecting j also
    selects j + 1" (arXiv:2603.20997), so 4 picks read up to 8 tokens.
    """

    picks: int
    successors: bool = False

    def __post_init__(self) -> None:
        if self.picks < 1:
            raise ValueError(f"picks must be at least 1, not {self.picks}")


class Task(Protocol):
    """A generator of questions."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""

    @property
    def length(self) -> int:
        """Tokens N of a sequence."""

    @property
    def reading(self) -> Reading:
        """How many positions may be read."""

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        """`batch` questions; equal states of a CPU generator give equal questions."""
