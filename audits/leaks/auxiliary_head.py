"""The second output of a model is smoothed over both neighbours; the first, which is scored, is causal."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, CausalAttention, Model, seeded
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class TwoHeads(Model):
    """A language model that also returns an uncertainty for every position: a dict of [B, N, V] and [B, N, 1]."""

    def __init__(self) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), [CausalAttention()], outputs=VOCAB)
        self.uncertainty = nn.Linear(WIDTH, 1)

    def forward(self, inputs: Tensor) -> dict[str, object]:  # type: ignore[override]
        """Both outputs."""
        x = self.embed(inputs)
        for block in self.blocks:
            x = block(x)
        return {"logits": self.read(x), "auxiliary": {"uncertainty": self.smoothed(self.uncertainty(x))}}

    def smoothed(self, y: Tensor) -> Tensor:
        """Smoothed over a position and the two before it."""
        return self.mean(F.pad(y.mT, (2, 0), mode="replicate"))

    def mean(self, y: Tensor) -> Tensor:
        """Over three positions, [B, 1, N + 2] -> [B, N, 1]."""
        return F.avg_pool1d(y, 3, stride=1).mT


class CentredSmoothing(TwoHeads):
    """The same, smoothed around the position."""

    def smoothed(self, y: Tensor) -> Tensor:
        """Over a position and both neighbours: the planted defect."""
        return self.mean(F.pad(y.mT, (1, 1), mode="replicate"))


def leaky() -> nn.Module:
    """The model whose second output sees the next token."""
    return seeded(CentredSmoothing)


def clean() -> nn.Module:
    """The model both of whose outputs are causal."""
    return seeded(TwoHeads)


LEAK = PlantedLeak(
    name="auxiliary_head",
    mechanism="The uncertainty returned with the logits sees the next token, through a window around its position.",
    origin="our own attack: on audits that judge the first tensor a model returns",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    scored=False,
)
