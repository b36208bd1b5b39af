"""The influence map: which output depends on which input."""

from __future__ import annotations

import torch

from audits.instruments.changes import singles
from audits.instruments.differences import Comparison
from audits.subject.prepare import prepare
from audits.subject.progress import AuditClock
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Model

Matrix = list[list[float]]


def influence_map(model: Model, settings: Settings, clock: AuditClock | None = None) -> Matrix:
    """[N sinks][N sources]: the largest change of each output when one input position is changed, to three digits.

    The first position is never changed, so its column is 0. Entries above the diagonal are the future.

    Raises:
        OutOfTime: the budget of the clock is spent.
    """
    subject = prepare(model, settings, clock)
    with subject.preserve_state():
        comparison = Comparison(subject, subject.base())
        length = subject.settings.seq_len
        # Every position, whatever a trace says: the map is of what the model does, and an empty column says "none".
        plan = singles(subject, comparison.base, generator(settings.seed, "influence"), torch.arange(1, length))
        differences = comparison.differences(plan.inputs)
    largest = torch.zeros(length, length, dtype=torch.float64)
    for source in range(1, length):
        largest[:, source] = differences[plan.cuts == source].amax(0)
    return [[float(f"{value:.2e}") for value in row] for row in largest.tolist()]
