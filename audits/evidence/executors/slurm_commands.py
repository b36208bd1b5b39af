"""Slurm's commands as far as they are needed: what state jobs are in, requeue, cancel. No accounting is asked for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from enum import Enum

from audits.evidence.executors.executor import ExecutorError

JOB_NAME = "hubrouter-audit"
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
COMMAND_SECONDS = 120  # a busy controller may take so long to answer (our choice)


class Phase(Enum):
    """What a job's state means for its run."""

    WAITING = "waiting"
    RUNNING = "running"
    LEAVING = "leaving"  # between two phases: no conclusion is drawn
    OVER = "over"


# Every other state, as every job that Slurm no longer knows, is over (squeue's manual, JOB STATE CODES).
PHASES: Mapping[str, Phase] = {
    **dict.fromkeys(("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"), Phase.WAITING),
    **dict.fromkeys(("RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "STAGE_OUT"), Phase.RUNNING),
    **dict.fromkeys(("CONFIGURING", "COMPLETING", "SIGNALING"), Phase.LEAVING),
}


def check_commands() -> None:
    """See that Slurm's commands are here.

    Raises:
        ExecutorError: one is not.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise ExecutorError(f"--executor slurm needs Slurm's commands on this machine; not found: {', '.join(missing)}")


def states() -> dict[str, str]:
    """The state of every job of ours that the controller knows, ended ones included, by its number.

    Raises:
        ExecutorError: the controller does not answer.
    """
    words = ["squeue", "--me", f"--name={JOB_NAME}", "--states=all", "--array", "--noheader", "--format=%i|%T"]
    pairs = (line.strip().split("|") for line in _run(words).splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def requeue(job: str) -> None:
    """Put a job back into the queue.

    Raises:
        ExecutorError: it cannot be.
    """
    _run(["scontrol", "requeue", job])


def cancel(job: str) -> None:
    """End a job.

    Raises:
        ExecutorError: it cannot be.
    """
    _run(["scancel", job])


def _run(words: list[str]) -> str:
    """A command's output."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutorError(f"{words[0]}: {error}") from None
    if done.returncode:
        raise ExecutorError(f"{words[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout
