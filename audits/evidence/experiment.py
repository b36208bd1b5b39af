"""What an experiment is: a list of runs for each tier, and a function that carries one out in its own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

TIERS = ("quick", "full", "paper")  # minutes; hours on two cores; a GPU


class Progress(Protocol):
    """Told by a run how far it is: `done` of `total` steps, and a short note such as the current loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress; may be called often."""


@dataclass(frozen=True)
class Options:
    """What the user chose for this gathering of evidence."""

    tier: str = "quick"
    device: str = "cpu"
    corpus: str | None = None  # a file, or "hf:NAME"; None is the embedded default
    checkpoints: str | None = None  # the folder that long runs keep their state in; None keeps none


@dataclass(frozen=True)
class RunSpec:
    """One run to be done: JSON-able configuration plus seed; with the experiment's name it makes the run's hash."""

    experiment: str
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    label: str = ""  # shown beside the progress bar


@dataclass(frozen=True)
class Experiment:
    """One kind of evidence. `execute` must be a module-level function: it is called in a worker process.

    `alone` asks that nothing else runs meanwhile, for runs that measure time. A run that takes longer than `seconds` is
    ended. `lost` turns the reason why a run gave no result into one that is recorded, so that it is not tried again.
    Studies of one `kind` share their runs: they are recorded under that name (the experiment's own where it is None),
    so what two studies ask for is done once. `beside` names modules whose code does not decide the result although
    `execute` imports them; a change there makes no record stale. A recheck compares all that a run gives but the paths
    that match `not_compared`: what measures time, and wording. Numbers of another machine may differ by `tolerance`,
    relative or absolute; None where only the same machine can tell.
    """

    name: str
    runs: Callable[[Options], tuple[RunSpec, ...]]
    execute: Callable[[RunSpec, Options, Progress], dict[str, Any]]
    alone: bool = False
    seconds: float | None = None
    lost: Callable[[str], dict[str, Any]] | None = None
    kind: str | None = None
    beside: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    tolerance: float | None = None

    @property
    def recorded_as(self) -> str:
        """The name that the runs have in the ledger."""
        return self.kind or self.name
