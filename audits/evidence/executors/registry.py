"""The executors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audits.evidence.executors.executor import Executor, ExecutorError
from audits.evidence.executors.local import LocalExecutor, default_workers


@dataclass(frozen=True)
class ExecutorConfig:
    """What the user asked of the executor.

    Attributes:
        device: what the runs use.
        workers: runs at a time; None leaves it to the executor.
        folder: where state that outlives a process is kept; None where there is no such place.
        slurm: options of sbatch.
    """

    device: str = "cpu"
    workers: int | None = None
    folder: Path | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)


def _local(config: ExecutorConfig) -> Executor:
    if config.slurm:
        raise ExecutorError("options for Slurm were given, but the executor is local; add --executor slurm")
    return LocalExecutor(config.workers or default_workers(config.device))


def _slurm(config: ExecutorConfig) -> Executor:
    if config.folder is None:
        raise ExecutorError("no folder to share with the cluster's nodes: give one with --checkpoints DIR")
    try:
        from audits.evidence.executors.slurm import SlurmExecutor
    except ImportError:
        raise ExecutorError(
            "--executor slurm needs submitit, which is not installed; pip install 'hubrouter-audit[cluster]'"
        ) from None
    return SlurmExecutor(config.folder / "slurm", config.slurm, at_a_time=config.workers)


EXECUTORS: Mapping[str, Callable[[ExecutorConfig], Executor]] = {"local": _local, "slurm": _slurm}


def make_executor(name: str, config: ExecutorConfig) -> Executor:
    """The executor of this name.

    Raises:
        ExecutorError: it cannot be used here.
    """
    return EXECUTORS[name](config)
