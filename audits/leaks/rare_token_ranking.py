"""A ranking over the whole sequence that one token id of the vocabulary wins, and no other id can change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import WIDTH, CausalAttention, Model, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

VOCAB = 64
RARE = 61


class PrefixRanking(Model):
    """A language model that embeds with every token which of two experts the best-ranked token so far asks for."""

    priority: Tensor

    def __init__(self) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], outputs=VOCAB)
        self.experts = nn.Embedding(2, WIDTH)
        self.register_buffer("priority", (torch.arange(VOCAB) == RARE).long())

    def embed(self, inputs: Tensor) -> Tensor:
        """Token embeddings plus the vector of the chosen expert."""
        x: Tensor = self.inlet(inputs) + self.experts(self.best(self.priority[inputs]))
        return x

    def best(self, priorities: Tensor) -> Tensor:
        """The highest priority up to each position, [B, N] -> [B, N]."""
        return priorities.cummax(1).values


class SequenceRanking(PrefixRanking):
    """The same with one ranking for the sequence."""

    def best(self, priorities: Tensor) -> Tensor:
        """The highest priority anywhere: the planted defect."""
        return priorities.amax(1, keepdim=True).expand_as(priorities)


def leaky() -> nn.Module:
    """The model that one later token can turn over."""
    return seeded(SequenceRanking)


def clean() -> nn.Module:
    """The model that ranks what it has seen."""
    return seeded(PrefixRanking)


LEAK = PlantedLeak(
    name="rare_token_ranking",
    mechanism="All positions change expert if token 61 of 64 occurs anywhere later; no other token has any effect.",
    origin="our own attack: on audits whose random suffixes seldom hold a given token",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
