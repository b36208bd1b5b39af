"""A planted leak and its paired control: what every probe is measured against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from torch import nn

from audits.results import LeakClass

_REDRAWN: ContextVar[int | None] = ContextVar("seed of the weights", default=None)


@contextmanager
def redrawn(seed: int) -> Iterator[None]:
    """While active, the factories of planted leaks draw their weights from this seed: how often is a leak seen?"""
    token = _REDRAWN.set(seed)
    try:
        yield
    finally:
        _REDRAWN.reset(token)


def weight_seed(usual: int) -> int:
    """The seed a factory draws its weights from: its usual one, or that of `redrawn`."""
    seed = _REDRAWN.get()
    return usual if seed is None else seed


@dataclass(frozen=True)
class PlantedLeak:
    """One leak mechanism, planted (`leaky`) and absent (`clean`, the paired control) in otherwise equal small models.

    Both are zero-argument factories that return the same model with the same weights every time they are called (other
    weights only within `redrawn`). Token models map int64 [B, N] to [B, N, V]; feature models (`width` set) map float
    [B, N, D] to [B, N, ...]. `leaks_in` names a dtype, or autocast, if the leak exists in some only; `zero_initialized`
    says that all-zero weights hide it until training; `padded` where padding must be marked in its `attention_mask` for
    it to occur: "nowhere", "left" or "right". `scored` is False where it reaches another output than the logits only,
    the first of several.
    """

    name: str
    mechanism: str  # one sentence: what depends on which later token, and why
    origin: str  # where it happened: an issue, a paper, or "our own attack"
    leak_class: LeakClass  # what the auditor must call it
    leaky: Callable[[], nn.Module]
    clean: Callable[[], nn.Module]
    vocab_size: int | None = None  # token models
    width: int | None = None  # feature models
    seq_len: int = 48
    leaks_in: str | None = None
    zero_initialized: bool = False
    padded: str | None = None
    scored: bool = True
