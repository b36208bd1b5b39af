"""What an executor is: it is given runs and reports what becomes of them. It records nothing and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from audits.evidence.experiment import Options, Progress, RunSpec


class ExecutorError(Exception):
    """Runs cannot be executed this way; the message is one line that says what is wrong and how to fix it."""


@dataclass(frozen=True)
class Submission:
    """A run to be executed.

    Attributes:
        run: its address in the ledger.
        execute: called with the next two and a function that reports progress.
        spec: the run's configuration and seed.
        options: the user's choices.
        code: the hash that the code behind `execute` must have where it is executed; empty where nobody checks.
        not_hashed: modules that this hash leaves out.
        exclusive: nothing else may run on the machine meanwhile.
        fresh_process: no other run may have been in its process, nor come after it.
    """

    run: str
    execute: Callable[[RunSpec, Options, Progress], dict[str, Any]]
    spec: RunSpec
    options: Options
    code: str = ""
    not_hashed: tuple[str, ...] = ()
    exclusive: bool = False
    fresh_process: bool = False


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


class Executor(Protocol):
    """Executes runs; used as a context, on leaving which nothing is waited for.

    The last event of every run is Finished, Failed or Died.
    """

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Take runs to be executed, in this order; those that died may be submitted again.

        Raises:
            ExecutorError: they cannot be taken.
        """

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What happened, in order; waits for something to happen, but not much longer than `seconds`. May be empty.

        Raises:
            ExecutorError: nothing can be learnt about the runs any more.
        """

    def forget(self, run: str, *, keep_log: bool = False) -> None:
        """Delete what is kept of a run and end it where it still runs: no more events come from it."""

    @property
    def left_behind(self) -> str:
        """In one line, what goes on when this process ends now; empty where nothing does."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End what must not outlive this process."""
