"""A token that is never to be sampled gets the lowest number there is, beside which every other difference is small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, CausalAttention, Model, running_mean, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

FORBIDDEN = 5


class CentredModel(Model):
    """A model around the mean of its hidden states, which forbids one token."""

    def read(self, x: Tensor) -> Tensor:
        """Centre, then logits [B, N, V], one of them the lowest number of the dtype."""
        logits = super().read(x - self.mean(x).detach())
        logits[..., FORBIDDEN] = torch.finfo(logits.dtype).min
        return logits

    def mean(self, x: Tensor) -> Tensor:
        """Over the positions so far."""
        return running_mean(x)


class WholeMeanModel(CentredModel):
    """The same with the mean of the whole sequence."""

    def mean(self, x: Tensor) -> Tensor:
        """Over all positions: the planted defect."""
        return x.mean(1, keepdim=True)


def leaky() -> nn.Module:
    """The model centred by the whole sequence."""
    return seeded(lambda: WholeMeanModel(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], VOCAB))


def clean() -> nn.Module:
    """The model centred by the positions so far."""
    return seeded(lambda: CentredModel(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], VOCAB))


LEAK = PlantedLeak(
    name="forbidden_token",
    mechanism="Hidden states are centred by a detached mean over the whole sequence; one logit is the lowest number.",
    origin="our own attack: on noise floors relative to the largest output; vision models that forbid image tokens so",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
