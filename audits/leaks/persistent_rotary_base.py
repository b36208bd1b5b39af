"""A rotary base stretched for the longest sequence of earlier calls and never put back."""

from __future__ import annotations

from torch import nn

from audits.leaks._parts import VOCAB, token_model
from audits.leaks._planted import PlantedLeak
from audits.leaks._rotary import RotaryAttention, stretched_base
from audits.results import LeakClass

TRAINED = 48  # positions; calls up to this length stretch nothing, so repeating one of them shows nothing


class PersistentBaseAttention(RotaryAttention):
    """Rotary attention that rotates with the table it cached last, and then extends the table to this input."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0  # a plain attribute, which saving and restoring buffers does not reach

    def base(self, length: int) -> float:
        """The base of the longest earlier call, this one not yet included: the planted defect."""
        cached = stretched_base(self.longest, TRAINED)
        self.longest = max(self.longest, length)
        return cached


def leaky() -> nn.Module:
    """The model that remembers its longest call."""
    return token_model(PersistentBaseAttention)


def clean() -> nn.Module:
    """The model with one base for all calls."""
    return token_model(RotaryAttention)


LEAK = PlantedLeak(
    name="persistent_rotary_base",
    mechanism="After a call with more than 48 tokens every later call, however short, is rotated with another base.",
    origin="huggingface/transformers#25104",
    leak_class=LeakClass.STATE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
