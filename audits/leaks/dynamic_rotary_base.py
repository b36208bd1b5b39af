"""A rotary base computed from the total length: every position is rotated by how long the sequence will be."""

from __future__ import annotations

from torch import nn

from audits.leaks._parts import VOCAB, token_model
from audits.leaks._planted import PlantedLeak
from audits.leaks._rotary import RotaryAttention, stretched_base
from audits.results import LeakClass

TRAINED = 16  # positions; shorter sequences are rotated alike


class DynamicBaseAttention(RotaryAttention):
    """Rotary attention whose base follows the length of the input."""

    def base(self, length: int) -> float:
        """The base for this length: the planted defect."""
        return stretched_base(length, TRAINED)


def leaky() -> nn.Module:
    """The model that rotates by the total length."""
    return token_model(DynamicBaseAttention)


def clean() -> nn.Module:
    """The model that rotates by position alone."""
    return token_model(RotaryAttention)


LEAK = PlantedLeak(
    name="dynamic_rotary_base",
    mechanism="Beyond 16 tokens the rotary base follows the total length, so adding a token changes earlier outputs.",
    origin="huggingface/transformers#25104",
    leak_class=LeakClass.LENGTH,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
