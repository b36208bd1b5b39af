"""What an experiment is: a list of runs for each tier, and a function that executes one in its own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from audits.evidence.ledger import Evidence

TIERS = ("quick", "full", "paper")  # minutes; hours on two cores; a GPU


class Progress(Protocol):
    """Called by a run to report how far it is: `done` of `total` steps, and a short note such as the current loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress; may be called often."""


@dataclass(frozen=True)
class Options:
    """What the user chose for this gathering of evidence."""

    tier: str = "quick"
    device: str = "cpu"
    corpus: str | None = None  # a file, or "hf:NAME"; None is the embedded default
    checkpoints: str | None = None  # the folder that long runs keep their state in; None keeps none
    hotpot: str | None = None  # a file of HotpotQA; None leaves what it would decide open


@dataclass(frozen=True)
class RunSpec:
    """One run to be done: JSON-able configuration plus seed; with the experiment's name it makes the run's hash."""

    experiment: str
    config: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    label: str = ""  # shown at the progress bar


@dataclass(frozen=True)
class Experiment:
    """One kind of evidence."""

    name: str
    runs: Callable[[Options], tuple[RunSpec, ...]]  # by the user's choices
    execute: Callable[
        [RunSpec, Options, Progress], dict[str, Any]
    ]  # one run; of a module, for a worker process calls it
    exclusive: bool = False  # nothing else may run on the machine meanwhile, for runs that measure time
    fresh_process: bool = False  # each run gets a process in which no other was
    seconds: float | None = None  # a run that takes longer is ended
    # Turns the reason why a run gave no result into one that is recorded, so that it is not tried again.
    on_failure: Callable[[str], dict[str, Any]] | None = None
    # The name that runs are recorded under, where not its own; what two studies of one kind ask for is done once.
    kind: str | None = None
    not_hashed: tuple[str, ...] = ()  # modules that `execute` imports, a change in which makes no record stale
    not_compared: tuple[str, ...] = ()  # paths in a result that no recheck compares: what measures time, and wording
    # By how much numbers of another machine may differ, relative or absolute; None where only the same one can show it.
    tolerance: float | None = None
    # Runs that hang on fresh evidence, such as a learning rate that was tuned; asked for until nothing is missing.
    follow_up: Callable[[Options, Evidence], tuple[RunSpec, ...]] | None = None

    def planned(self, options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
        """All runs that are known so far."""
        return self.runs(options) + (self.follow_up(options, fresh) if self.follow_up else ())

    @property
    def recorded_as(self) -> str:
        """The name that the runs have in the ledger."""
        return self.kind or self.name
