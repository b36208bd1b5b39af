"""The executors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audits.evidence.executors.executor import Executor, ExecutorError
from audits.evidence.executors.local import LocalExecutor, default_workers
from audits.evidence.executors.slurm import SlurmExecutor


@dataclass(frozen=True)
class Wish:
    """What the user asked of the executor.

    Attributes:
        device: what the runs use.
        workers: runs at a time; None leaves it to the executor.
        folder: where state that outlives a process is kept; None where there is no such place.
        cluster: options of the cluster's submit command.
    """

    device: str = "cpu"
    workers: int | None = None
    folder: Path | None = None
    cluster: Mapping[str, str] = field(default_factory=dict)


def _local(wish: Wish) -> Executor:
    if wish.cluster:
        raise ExecutorError("options for Slurm were given, but the executor is local; add --executor slurm")
    return LocalExecutor(wish.workers or default_workers(wish.device))


def _slurm(wish: Wish) -> Executor:
    if wish.folder is None:
        raise ExecutorError("no folder to share with the cluster's nodes: give one with --checkpoints DIR")
    return SlurmExecutor(wish.folder / "slurm", wish.cluster, at_a_time=wish.workers)


EXECUTORS: Mapping[str, Callable[[Wish], Executor]] = {"local": _local, "slurm": _slurm}


def make_executor(name: str, wish: Wish) -> Executor:
    """The executor of this name.

    Raises:
        ExecutorError: it cannot be used here.
    """
    return EXECUTORS[name](wish)
