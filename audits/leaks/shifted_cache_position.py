"""A cache whose next position is counted one too low, so that decoding rotates new tokens wrongly."""

from __future__ import annotations

from torch import nn

from audits.leaks._parts import VOCAB
from audits.leaks._planted import PlantedLeak
from audits.leaks._streaming import CachedAttention, streaming_model
from audits.results import LeakClass


class ShiftedPosition(CachedAttention):
    """Cached attention that continues at the last cached position instead of the next."""

    def start(self, past: int) -> int:
        """One too low, once anything is cached: the planted defect."""
        return max(past - 1, 0)


def leaky() -> nn.Module:
    """The model that decodes one position behind."""
    return streaming_model(ShiftedPosition)


def clean() -> nn.Module:
    """The model that decodes where it should."""
    return streaming_model(CachedAttention)


LEAK = PlantedLeak(
    name="shifted_cache_position",
    mechanism="Decoding gives new tokens the position before theirs, so its outputs are not those of forward.",
    origin="our own attack: on audits that never decode; the usual off-by-one of key-value caches",
    leak_class=LeakClass.DECODE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
