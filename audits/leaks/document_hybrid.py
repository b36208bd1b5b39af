"""A hybrid whose attention isolates documents by their positions, while its convolution ignores positions."""

from __future__ import annotations

from torch import nn

from audits.leaks._packed import ByPositions, PackedAttention, PackedConvolution, packed_model
from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.leaks.document_convolution import RunningConvolution
from audits.results import LeakClass


def leaky() -> nn.Module:
    """The model whose convolution runs along the row: the planted defect."""
    return packed_model(ByPositions, RunningConvolution, PackedAttention, RunningConvolution, PackedAttention)


def clean() -> nn.Module:
    """The model in which all layers keep documents apart."""
    return packed_model(ByPositions, PackedConvolution, PackedAttention, PackedConvolution, PackedAttention)


LEAK = PlantedLeak(
    name="document_hybrid",
    mechanism="Attention separates packed documents by position ids that begin again; the convolutions between do not.",
    origin="our own attack: on audits that take position ids for no promise at all",
    leak_class=LeakClass.DOCUMENT,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
