"""Multi-query associative recall, as Zoology (arXiv:2312.04927) generates it and as a single question.

Zoology's sequence: pairs k v k v …, then every key once more at a gap drawn from a power law; its value is the label
there, and labels are -100 elsewhere. arXiv:2603.20997 seems to ask for one key, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.shapes import Int

IGNORED = -100  # a label that losses ignore


class Recall(NamedTuple):
    """Sequences and the label of each position, `IGNORED` where there is none."""

    tokens: Int[Tensor, "B N"]
    labels: Int[Tensor, "B N"]


@dataclass(frozen=True)
class Mqar:
    """Keys in [1, V/2) and values in [V/2, V), both drawn without replacement.

    Attributes:
        length: tokens N; arXiv:2603.20997 has 256, Zoology's figure 2 (V, N, pairs) = (8192, 64, 4) to (8192, 512, 64).
        pairs: key-value pairs; 16.
        vocab_size: V.
        power: a of the gap distribution p(i) ∝ i^(a - 1).
        filler: tokens between the queries: "random" tokens as in Zoology, or "zero".
        unintended: random filler may repeat a key of the sequence, as in Zoology; else it may not.
        picks: positions picked in the single question, among the pairs' keys. 4 of 16 have a chance of 25 %, which is
            what the paper reports for all methods that fail (our interpretation).
        value: the position to be found, and the candidates, are those of values; else those of keys.

    Raises:
        ValueError: pairs that do not fit into the length or the vocabulary, or an unknown filler.
    """

    length: int = 256
    pairs: int = 16
    vocab_size: int = 8192
    power: float = 0.01
    filler: str = "random"
    unintended: bool = False
    picks: int = 4
    value: bool = False

    def __post_init__(self) -> None:
        if self.filler not in ("random", "zero"):
            raise ValueError(f"filler must be random or zero, not {self.filler!r}")
        if self.pairs < self.picks:
            raise ValueError(f"picks={self.picks} must be at most pairs={self.pairs}")
        if self._room < self.pairs:
            raise ValueError(f"length must be at least {4 * self.pairs} for {self.pairs} pairs, not {self.length}")
        if self.vocab_size // 2 - 1 < self.pairs:
            raise ValueError(f"vocab_size must be at least {2 * self.pairs + 2}, not {self.vocab_size}")

    @property
    def reading(self) -> Reading:
        """Picked keys; the value of a key is read with it."""
        return Reading(self.picks, successors=True)

    @property
    def _room(self) -> int:
        """Possible positions of a query after the pairs: every second one."""
        return (self.length - 2 * self.pairs) // 2

    def draw(self, batch: int, generator: torch.Generator) -> Batch:
        """One question: the last token asks for the value of one of the keys."""
        keys, values = self._drawn(batch, generator)
        tokens = self._filled(keys, values, generator)
        asked = torch.randint(self.pairs, (batch,), generator=generator)
        row = torch.arange(batch)
        tokens[:, -1] = keys[row, asked]
        candidates = torch.zeros_like(tokens, dtype=torch.bool)
        candidates[:, self.value : 2 * self.pairs : 2] = True
        query = torch.full((batch,), self.length - 1)
        return Batch(tokens, query, 2 * asked + self.value, values[row, asked], candidates)

    def draw_all(self, batch: int, generator: torch.Generator) -> Recall:
        """Every key asked once, as in Zoology."""
        keys, values = self._drawn(batch, generator)
        tokens = self._filled(keys, values, generator)
        law = torch.arange(1, self._room + 1, dtype=torch.float64).pow(self.power - 1).log()
        gap = _without_replacement(law.expand(batch, -1), self.pairs, generator)
        position = 2 * self.pairs + 2 * gap
        labels = torch.full_like(tokens, IGNORED).scatter_(1, position, values)
        return Recall(tokens.scatter_(1, position, keys), labels)

    def _drawn(self, batch: int, generator: torch.Generator) -> tuple[Int[Tensor, "B P"], Int[Tensor, "B P"]]:
        half = self.vocab_size // 2
        keys = _without_replacement(torch.zeros(batch, half - 1), self.pairs, generator) + 1
        return keys, _without_replacement(torch.zeros(batch, self.vocab_size - half), self.pairs, generator) + half

    def _filled(self, keys: Tensor, values: Tensor, generator: torch.Generator) -> Int[Tensor, "B N"]:
        """The pairs, then filler."""
        pairs = torch.stack([keys, values], dim=2).flatten(1)
        rest = torch.randint(self.vocab_size, (len(keys), self.length - pairs.shape[1]), generator=generator)
        if self.filler == "zero":
            rest.zero_()
        elif not self.unintended:
            known = torch.zeros(len(keys), self.vocab_size, dtype=torch.bool).scatter_(1, keys, True)
            rest.masked_fill_(known.gather(1, rest), 0)
        return torch.cat([pairs, rest], dim=1)


def _without_replacement(log_weight: Tensor, count: int, generator: torch.Generator) -> Int[Tensor, "B P"]:
    """`count` different indices a row, drawn one after the other by these weights (the Gumbel trick)."""
    uniform = torch.rand(log_weight.shape, generator=generator, dtype=torch.float64)
    return (log_weight - (-uniform.log()).log()).topk(count).indices
