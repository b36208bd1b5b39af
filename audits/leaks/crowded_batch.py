"""Statistics over the batch that are used only where there are enough rows for them."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

ENOUGH = 5  # rows


class CentredAttention(CausalAttention):
    """Causal attention, centred."""

    def forward(self, x: Tensor) -> Tensor:
        """Attend and centre."""
        y = super().forward(x)
        return y - self.centre(y)

    def centre(self, y: Tensor) -> Tensor:
        """The mean over the channels of each position."""
        return y.mean(2, keepdim=True)


class CrowdedAttention(CentredAttention):
    """The same with the mean over the rows of a large batch."""

    def centre(self, y: Tensor) -> Tensor:
        """The mean over enough rows: the planted defect."""
        return y.mean(0, keepdim=True) if len(y) >= ENOUGH else super().centre(y)


def leaky() -> nn.Module:
    """The model whose rows depend on each other in batches of five rows or more."""
    return token_model(CrowdedAttention)


def clean() -> nn.Module:
    """The model whose rows are independent."""
    return token_model(CentredAttention)


LEAK = PlantedLeak(
    name="crowded_batch",
    mechanism="In a batch of five rows or more every row is shifted by the mean over the rows at the same position.",
    origin="our own attack: on audits with a few rows only",
    leak_class=LeakClass.BATCH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
