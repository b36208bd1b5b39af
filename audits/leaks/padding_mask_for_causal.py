"""A padding mask takes the place of the causal one, though it marks no padding at all."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._padding import PaddedAttention, clean, padded_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class ReplacedMaskAttention(PaddedAttention):
    """Attention that makes one mask of its argument, or a causal one without it."""

    def hidden(self, x: Tensor, real: Tensor | None) -> Tensor:
        """What the argument hides, and nothing else: the planted defect."""
        return super().hidden(x, real) if real is None else ~real[:, None, :].expand(-1, x.shape[1], -1)


def leaky() -> nn.Module:
    """The model that is causal only as long as no mask is passed."""
    return padded_model(ReplacedMaskAttention)


LEAK = PlantedLeak(
    name="padding_mask_for_causal",
    mechanism="Every query attends to all real tokens once a padding mask is passed: it replaces the causal mask.",
    origin="our own attack: on audits that call a model without the arguments that training passes",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    padded="nowhere",
)
