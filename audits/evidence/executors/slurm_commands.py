"""Slurm's commands as far as submitit does not call them, and the parameters that jobs are submitted with."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from audits.evidence.executors.executor import ExecutorError

JOB_NAME = "hubrouter-audit"
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
COMMAND_SECONDS = 120  # a busy controller may take so long to answer (our choice)
MINUTES = "60"  # a job's time limit where none is given; a run that keeps checkpoints goes on in the next (our choice)
WARNING_SECONDS = 90  # before the time limit a job is warned and goes back to the queue; submitit's default
OURS = frozenset(
    {"array", "chdir", "error", "input", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output"}
    | {"no-requeue", "parsable", "requeue", "signal", "test-only", "wait", "wrap"}
)


def check_commands() -> None:
    """See that Slurm's commands are here.

    Raises:
        ExecutorError: one is not.
    """
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        raise ExecutorError(f"--executor slurm needs Slurm's commands on this machine; not found: {', '.join(missing)}")


def job_states() -> dict[str, str]:
    """The state of every job of ours that the controller knows, ended ones included, by its number.

    submitit asks sacct, which needs an accounting database; many clusters have none.

    Raises:
        ExecutorError: the controller does not answer.
    """
    lines = command("squeue", "--me", f"--name={JOB_NAME}", "--states=all", "--array", "--noheader", "--format=%i|%T")
    pairs = (line.strip().partition("|") for line in lines.splitlines())
    return {job: state for job, _, state in pairs}


def command(*words: str) -> str:
    """A command's output.

    Raises:
        ExecutorError: it fails.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutorError(f"{words[0]}: {error}") from None
    if done.returncode:
        raise ExecutorError(f"{words[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def job_parameters(options: Mapping[str, str], at_a_time: int, *, exclusive: bool) -> dict[str, Any]:
    """What submitit needs to know of an array; exclusive jobs get whole nodes, one after the other.

    Args:
        options: the user's options of sbatch by their long names; one without a value is a switch.
        at_a_time: jobs that may run at the same time.
        exclusive: nothing else may run on a job's node.

    Raises:
        ExecutorError: an option is set by this program, or is none.
    """
    for name, value in options.items():
        if name in OURS:
            raise ExecutorError(f"Slurm option {name} is set by this program and cannot be chosen")
        if not name.replace("-", "").isalnum() or not name.islower() or "\n" in value:
            raise ExecutorError(f"Slurm option {name!r} is none: give sbatch's long names without the dashes")
    time = options.get("time", MINUTES)
    if not time.isdecimal() or int(time) < 1:
        raise ExecutorError(f"Slurm option time={time}: give a whole number of minutes, at least 1")
    return {
        "job_name": JOB_NAME,
        "time": int(time),
        "cpus_per_task": 1,
        "exclusive": exclusive or None,
        "array_parallelism": 1 if exclusive else at_a_time,
        "signal_delay_s": min(WARNING_SECONDS, 15 * int(time)),
        "additional_parameters": {"requeue": True, **{k: v or True for k, v in options.items() if k != "time"}},
    }
