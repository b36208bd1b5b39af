"""Two layers of attention of which the second is not given the borders of the documents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks._packed import ByBorders, PackedAttention, packed_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class FirstLayerOnly(ByBorders):
    """A model that passes the documents on to its first layer."""

    def documents_of(self, layer: int, documents: Tensor) -> Tensor:
        """One long document, to all but the first layer: the planted defect."""
        return documents if layer == 0 else torch.zeros_like(documents)


def leaky() -> nn.Module:
    """The model whose second layer takes the row for one document."""
    return packed_model(FirstLayerOnly, PackedAttention, PackedAttention)


def clean() -> nn.Module:
    """The model in which every layer gets the borders."""
    return packed_model(ByBorders, PackedAttention, PackedAttention)


LEAK = PlantedLeak(
    name="document_forgotten_layer",
    mechanism="The second layer attends across packed documents, because cu_seqlens is not passed on to it.",
    origin="our own attack: on audits of single layers",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
