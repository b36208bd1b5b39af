"""The influence map: which output depends on which input."""

from __future__ import annotations

import torch

from audits.instruments.changes import singles
from audits.instruments.differences import Comparison
from audits.subject.prepare import prepare
from audits.subject.progress import AuditClock
from audits.subject.randomness import generator
from audits.subject.settings import Settings
from audits.subject.subject import Model, Subject

Matrix = list[list[float]]


def influence_map(model: Model, settings: Settings, clock: AuditClock | None = None) -> Matrix:
    """[N sinks][N sources]: the largest change of each output when one input position is changed, to three digits.

    The first position is never changed, so its column is 0. Entries above the diagonal are the future.

    Raises:
        OutOfTime: the budget of the clock is spent.
    """
    return influence_of(prepare(model, settings, clock))


def influence_of(subject: Subject) -> Matrix:
    """The same of a subject that is prepared already."""
    with subject.preserve_state():
        comparison = Comparison(subject, subject.base())
        length, seed = subject.settings.seq_len, subject.settings.seed
        # Every position, whatever a trace says: the map is of what the model does, and an empty column says "none".
        plan = singles(subject, comparison.base, generator(seed, "influence"), torch.arange(1, length))
        differences = comparison.differences(plan.inputs)
    largest = torch.zeros(length, length, dtype=torch.float64)
    for source in range(1, length):
        largest[:, source] = differences[plan.cuts == source].amax(0)
    return [[float(f"{value:.2e}") for value in row] for row in largest.tolist()]


def times_of(subject: Subject) -> tuple[str, ...]:
    """When the outputs of each position are due, under a contract with clocks of its own; else empty.

    What becomes available since the time before has that position too; what does after all, one more, called "later".
    """
    if subject.plan is None or subject.plan.is_plain:
        return ()
    due, _ = subject.plan.clocks.times(subject.plan.clocks.slots)
    times = [f"{time:g}" for time in due.unique().tolist()]
    return (*times, "later")[: subject.settings.seq_len]
