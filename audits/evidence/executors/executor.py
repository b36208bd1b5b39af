"""What an executor is: it is given runs and reports what becomes of them. It records nothing and decides nothing."""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from audits.evidence.experiment import Experiment, Options, RunSpec


class ExecutorError(Exception):
    """Runs cannot be executed this way; the message is one line that says what is wrong and how to fix it."""


@dataclass(frozen=True)
class Task:
    """A run to be executed: its address in the ledger, what asks for it, and the user's choices for this run alone."""

    run: str
    experiment: Experiment
    spec: RunSpec
    options: Options

    @property
    def label(self) -> str:
        """What the user knows the run by."""
        return self.spec.label or f"{self.spec.experiment} seed {self.spec.seed}"

    def packed(self, code: str = "") -> bytes:
        """The task for another process, where the code must have this hash, if any; ValueError if it cannot be sent."""
        execute, not_hashed = self.experiment.execute, self.experiment.not_hashed
        try:
            return pickle.dumps((execute, self.spec, self.options, code, not_hashed))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"cannot be sent to a worker, execute must be a function of a module: {error}") from None


@dataclass(frozen=True)
class Began:
    """The run's process is up: from here on its time counts. `environment` describes the machine it is on."""

    run: str
    environment: dict[str, str]


@dataclass(frozen=True)
class ProgressReported:
    """How far a run is: `done` of `total` steps."""

    run: str
    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Finished:
    """A run's result as a JSON text, and the seconds it took."""

    run: str
    result: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Why a run gave no result, in one line; it would fail again."""

    run: str
    error: str


@dataclass(frozen=True)
class Died:
    """The process that executed the run, `what`, ended without a result: `how`. It may have been chance."""

    run: str
    what: str
    how: str
    advice: str


@dataclass(frozen=True)
class Requeued:
    """The run was stopped by the cluster, through no fault of its own, and waits to go on."""

    run: str
    why: str


Event = Began | ProgressReported | Finished | Failed | Died | Requeued


class Executor(ABC):
    """Executes runs; used as a context, on leaving which nothing is waited for.

    The last event of every run is Finished, Failed or Died. Every method raises ExecutorError where it cannot go on.
    """

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """End what must not outlive this process."""

    @property
    def at_a_time(self) -> float:
        """How many runs to submit before one of them ends; more would only keep them from other gatherings."""
        return math.inf

    @property
    def left_behind(self) -> str:
        """In one line, what goes on when this process ends now; empty where nothing does."""
        return ""

    @abstractmethod
    def submit(self, tasks: Sequence[Task]) -> None:
        """Take runs to be executed, in this order; those that died may be submitted again."""

    @abstractmethod
    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What happened, in order; waits for something to happen, but not much longer than `seconds`. May be empty."""

    @abstractmethod
    def forget(self, run: str, *, keep_log: bool = False) -> None:
        """Delete what is kept of a run and end it where it still runs: no more events come from it."""
