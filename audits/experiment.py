"""What an experiment is: a list of runs for each tier, and a function that carries one out in its own process."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol


class Progress(Protocol):
    """Told by a run how far it is: `done` of `total` steps, and a short note such as the current loss."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report progress; may be called often."""


@dataclass(frozen=True)
class Options:
    """What the user chose for this gathering of evidence."""

    tier: str = "quick"
    device: str = "cpu"
    corpus: str | None = None  # a file; None is the embedded default
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

    `alone` asks that nothing else runs meanwhile, for runs that measure time. The runs of a `cumulative` experiment are
    further draws of the same thing at every tier: those of another tier count too. A run that takes longer than
    `seconds` is ended. `lost` turns the reason why a run gave no result into one that is recorded, so that it is not
    tried again.
    """

    name: str
    runs: Callable[[Options], tuple[RunSpec, ...]]
    execute: Callable[[RunSpec, Options, Progress], dict[str, Any]]
    alone: bool = False
    cumulative: bool = False
    seconds: float | None = None
    lost: Callable[[str], dict[str, Any]] | None = None


def all_experiments() -> tuple[Experiment, ...]:
    """Every experiment: one file each in `audits/claims/experiments`, by name."""
    import audits.claims.experiments as package

    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))
    return tuple(importlib.import_module(f"audits.claims.experiments.{name}").EXPERIMENT for name in names)
