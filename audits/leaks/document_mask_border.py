"""A block mask that is off by one where documents meet: every token attends to the last one of the document before."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._packed import BySegments, PackedAttention, packed_model
from audits.leaks._parts import VOCAB, future
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass


class LateBorder(PackedAttention):
    """Attention within documents, of which keys belong to the next one too early."""

    def hidden(self, documents: Tensor) -> Tensor:
        """All but the keys whose next position is in the query's document: the planted defect."""
        following = F.pad(documents[:, 1:], (0, 1), value=-1)
        late = (documents[:, :, None] == following[:, None, :]) & ~future(documents.shape[1], documents.device)
        return super().hidden(documents) & ~late


def leaky() -> nn.Module:
    """The model with the border one token late."""
    return packed_model(BySegments, LateBorder)


def clean() -> nn.Module:
    """The model with the border in its place."""
    return packed_model(BySegments, PackedAttention)


LEAK = PlantedLeak(
    name="document_mask_border",
    mechanism="Every position attends to the last token of the packed document before its own: the mask is off by one.",
    origin="our own attack: on audits that change a document anywhere but at its end",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
