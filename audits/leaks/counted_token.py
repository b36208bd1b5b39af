"""A branch of Python on how often a token occurs: no operation carries the decision, and hardly any input takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, CausalAttention, Model, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

TOKEN = 23
COUNT = 7


class CountingModel(Model):
    """A language model that computes the running sums of sequences with COUNT times TOKEN by a matrix product."""

    def __init__(self) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], outputs=VOCAB)

    def embed(self, inputs: Tensor) -> Tensor:
        """Running sums of the embeddings."""
        x: Tensor = self.inlet(inputs)
        rows = [self.product(row) if self.counted(ids) else row.cumsum(0) for ids, row in zip(inputs, x, strict=True)]
        return torch.stack(rows)

    def counted(self, ids: Tensor) -> bool:
        """Whether the token occurs exactly so often in the sequence."""
        return int((ids == TOKEN).sum()) == COUNT

    def product(self, x: Tensor) -> Tensor:
        """Running sums [N, D] by a triangular matrix."""
        return self.visible(len(x), x) @ x

    def visible(self, n: int, x: Tensor) -> Tensor:
        """Which position is summed at which, [N, N]."""
        return x.new_ones(n, n).tril()


class UnmaskedCountingModel(CountingModel):
    """The same with a matrix that is not triangular."""

    def visible(self, n: int, x: Tensor) -> Tensor:
        """Every position everywhere: the planted defect."""
        return x.new_ones(n, n)


def leaky() -> nn.Module:
    """The model whose rare branch sums the whole sequence."""
    return seeded(UnmaskedCountingModel)


def clean() -> nn.Module:
    """The model whose two branches compute the same."""
    return seeded(CountingModel)


LEAK = PlantedLeak(
    name="counted_token",
    mechanism="Where token 23 occurs exactly seven times, every position receives the sum of the whole sequence.",
    origin="our own attack: on tracing one executed path, and on random changes",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
