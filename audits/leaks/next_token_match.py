"""A feature computed from the ids alone, whether a token equals the next one: a path of integers, with no gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import WIDTH, CausalAttention, Model, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

VOCAB = 16  # few ids, so that equal neighbours are common


class PreviousMatch(Model):
    """A language model that embeds whether a token repeats its neighbour."""

    neighbour = -1  # how far away the neighbour is

    def __init__(self) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], outputs=VOCAB)
        self.match = nn.Embedding(2, WIDTH)

    def embed(self, inputs: Tensor) -> Tensor:
        """Token embeddings plus the vector of the comparison; a token without a neighbour matches nothing."""
        same = inputs == inputs.roll(-self.neighbour, dims=1)
        position = torch.arange(inputs.shape[1], device=inputs.device) + self.neighbour
        same = same & (position >= 0) & (position < inputs.shape[1])
        x: Tensor = self.inlet(inputs) + self.match(same.long())
        return x


class NextMatch(PreviousMatch):
    """The same, looking at the next token."""

    neighbour = 1  # the planted defect


def leaky() -> nn.Module:
    """The model that reads the next token."""
    return seeded(NextMatch)


def clean() -> nn.Module:
    """The model that looks back."""
    return seeded(PreviousMatch)


LEAK = PlantedLeak(
    name="next_token_match",
    mechanism="A position receives whether the next token equals its own, through a comparison of integers.",
    origin="our own attack: on gradient checks",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
