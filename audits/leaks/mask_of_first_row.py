"""The padding of the first row is hidden in every row of the batch."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._padding import PaddedAttention, clean, padded_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class FirstRowAttention(PaddedAttention):
    """Attention that makes one mask for the whole batch."""

    def hidden(self, x: Tensor, real: Tensor | None) -> Tensor:
        """What the first row's padding hides: the planted defect."""
        return super().hidden(x, None if real is None else real[:1])


def leaky() -> nn.Module:
    """The model whose rows depend on how the first one is padded."""
    return padded_model(FirstRowAttention)


LEAK = PlantedLeak(
    name="mask_of_first_row",
    mechanism="Every row depends on where the first row of the batch is padded: one mask is made for all of them.",
    origin="our own attack: on audits that pad all rows alike",
    leak_class=LeakClass.BATCH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    padded="right",
)
