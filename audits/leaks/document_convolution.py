"""A short convolution that ignores the documents in its row: each continues the one before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._packed import ByIndex, PackedAttention, PackedConvolution, packed_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class RunningConvolution(PackedConvolution):
    """A convolution along the row."""

    def seen(self, documents: Tensor, back: int) -> Tensor:  # noqa: ARG002 - the interface of the clean version
        """Whatever is in the row: the planted defect."""
        return torch.ones_like(documents, dtype=torch.bool)


def leaky() -> nn.Module:
    """The model whose attention keeps documents apart and whose convolution does not."""
    return packed_model(ByIndex, RunningConvolution, PackedAttention)


def clean() -> nn.Module:
    """The model in which both do."""
    return packed_model(ByIndex, PackedConvolution, PackedAttention)


LEAK = PlantedLeak(
    name="document_convolution",
    mechanism="The first positions of a packed document see the last ones of the document before: seq_idx is ignored.",
    origin="axolotl#3796",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
