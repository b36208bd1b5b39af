"""A softmax temperature that grows with the logarithm of the total length instead of the position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class PositionTemperature(CausalAttention):
    """Causal attention whose scores are scaled by the logarithm of the number of keys of a query."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores [B, N, N] times log(count + 1), which is never 0."""
        return super().score(queries, keys) * (self.count(queries) + 1).log()

    def count(self, queries: Tensor) -> Tensor:
        """Keys up to each query, [N, 1]."""
        return torch.arange(1, queries.shape[1] + 1, dtype=queries.dtype, device=queries.device)[:, None]


class LengthTemperature(PositionTemperature):
    """The same, scaled by the length of the whole sequence."""

    def count(self, queries: Tensor) -> Tensor:
        """Keys in the sequence, [1]: the planted defect."""
        return queries.new_tensor([queries.shape[1]])


def leaky() -> nn.Module:
    """The model that uses the length of the whole sequence."""
    return token_model(LengthTemperature)


def clean() -> nn.Module:
    """The model that uses the length so far."""
    return token_model(PositionTemperature)


LEAK = PlantedLeak(
    name="length_temperature",
    mechanism="Attention scores are scaled by the logarithm of the total length, the only thing of later tokens used.",
    origin="our own attack: on audits at one length; length-scaled attention computed with the wrong length",
    leak_class=LeakClass.LENGTH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
