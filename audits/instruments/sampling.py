"""How much is tried: everything; or a few, where one traced pass shows every way that a token can take to an output."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.instruments.tracing.taint_map import MAX_POSITIONS
from audits.instruments.tracing.trace import traced
from audits.subject.subject import Subject

FEW = 16  # cuts, lengths or outputs, where a row costs nearly nothing; our choice


def is_traced(subject: Subject, *, training: bool = False) -> bool:
    """Whether one traced pass shows that no token reaches an earlier output, and leaves nothing in doubt."""
    if subject.settings.seq_len > MAX_POSITIONS:
        return False
    try:
        return traced(subject, training=training).is_complete
    except Exception:  # it does not run under tracing
        return False


def few(subject: Subject) -> int:
    """How many will do where the trace is complete."""
    return subject.rows_afforded or FEW


def sample(subject: Subject, numbers: Tensor, *, training: bool = False) -> Tensor:
    """These numbers; a few of them, evenly spread, where the trace is complete."""
    count = few(subject)
    if len(numbers) <= count or not is_traced(subject, training=training):
        return numbers
    return numbers[torch.linspace(0, len(numbers) - 1, count).round().long()]


def in_words(subject: Subject, count: int, what: str, *, training: bool = False) -> str:
    """How many of so many were tried and why, as an addition to a sentence; empty where all were."""
    tried = len(sample(subject, torch.arange(count), training=training))
    return f" ({tried} of {count} {what}, because the trace is complete)" if tried < count else ""


def at_any_length(subject: Subject) -> Subject:
    """The subject on a shorter sequence, where rows are dear and the trace of the whole one is complete."""
    short = subject.shorter()
    return short if short is not subject and is_traced(subject) else subject
