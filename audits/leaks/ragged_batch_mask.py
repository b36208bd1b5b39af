"""The path for rows with padding hides the padding and forgets the causal mask."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._padding import PaddedAttention, clean, padded_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RaggedAttention(PaddedAttention):
    """Attention that takes a quick causal path where nothing is padding."""

    def hidden(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Padding alone where there is some: the planted defect."""
        if real is None or bool(real.all()):
            return super().hidden(x, None)
        return ~real[:, None, :].expand(-1, x.shape[1], -1)


def leaky() -> nn.Module:
    """The model that is causal as long as no row is padded."""
    return padded_model(RaggedAttention)


LEAK = PlantedLeak(
    name="ragged_batch_mask",
    mechanism="Every query attends to all real tokens in a batch with padding; a mask of ones only leaves it causal.",
    origin="our own attack: on audits that pass a mask without any padding",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
    padded="right",
)
