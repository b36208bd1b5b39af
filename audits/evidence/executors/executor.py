"""What an executor is: it is given runs and tells what becomes of them. It records nothing and decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from audits.evidence.experiment import Options, Progress, RunSpec


class ExecutorError(Exception):
    """Runs cannot be carried out this way; the message is one line that says what is wrong and how to mend it."""


@dataclass(frozen=True)
class Job:
    """What the process that carries out a run needs to know.

    `code` is the hash that the code behind `execute`, without the modules `beside` it, must have there; where it is
    empty nobody looks.
    """

    execute: Callable[[RunSpec, Options, Progress], dict[str, Any]]
    spec: RunSpec
    options: Options
    code: str = ""
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """A run to be carried out; `run` is its address. Nothing else may run on the machine beside one that is `alone`."""

    run: str
    job: Job
    alone: bool = False


@dataclass(frozen=True)
class Placed:
    """A place was found for the run; it is starting."""

    run: str


@dataclass(frozen=True)
class Began:
    """The run has its job: from here on its time counts. `environment` describes its machine, None for this one."""

    run: str
    environment: dict[str, str] | None = None


@dataclass(frozen=True)
class Told:
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
    """What carried out the run ended without an answer: `what`, and `how`. It may have been chance."""

    run: str
    what: str
    how: str
    advice: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Requeued:
    """The run was stopped by the cluster, through no fault of its own, and waits to go on."""

    run: str
    why: str


Event = Placed | Began | Told | Finished | Failed | Died | Requeued


class Executor(Protocol):
    """Carries out runs; used as a context, on leaving which nothing is waited for.

    Of every run that was submitted, the last event is Finished or Failed, or Died: after that it is `resubmit`ted or
    dropped.
    """

    def submit(self, orders: Sequence[Order]) -> None:
        """Take runs to be carried out, those first that came first.

        Raises:
            ExecutorError: they cannot be taken.
        """

    def resubmit(self, run: str) -> None:
        """Carry out a run that died once more.

        Raises:
            ExecutorError: it cannot be.
        """

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What happened, in order; waits for something to happen, but not much longer than `seconds`. May be empty.

        Raises:
            ExecutorError: nothing can be learnt about the runs any more.
        """

    def cancel(self, run: str) -> None:
        """End a run; no more is told about it."""

    def forget(self, run: str, *, keep_log: bool = False) -> None:
        """Drop what is kept of a run, the run itself included: it was recorded, or is to be begun afresh."""

    @property
    def left_behind(self) -> str:
        """In one line, what goes on when this process ends now; empty where nothing does."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End what must not outlive this process."""
