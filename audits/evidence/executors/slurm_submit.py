"""Submits runs to Slurm as job arrays, through submitit."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audits.evidence.executors.executor import ExecutorError
from audits.evidence.executors.slurm_commands import JOB_NAME
from audits.evidence.executors.slurm_job import SlurmRun
from audits.evidence.executors.spool import Spool
from audits.evidence.executors.worker import interrupts_held

if TYPE_CHECKING:
    from submitit import SlurmJob
    from submitit.slurm.slurm import SlurmExecutor

MINUTES = 60  # a job's time limit where none is given; a run that keeps checkpoints goes on in the next (our choice)
TIMEOUTS_ALLOWED = 50  # so often a run goes back to the queue at its time limit; then it will never end (our choice)
WARNING_SECONDS = 90  # before the time limit a job is told to go back to the queue; submitit's default
ARRAY_LIMIT = 1000  # Slurm's own limit on an array, where a cluster has not set another
AT_A_TIME = 256  # jobs of an array that run at the same time, where nothing else is asked for; submitit's default
OURS = frozenset(
    {"array", "chdir", "error", "input", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output"}
    | {"no-requeue", "parsable", "requeue", "signal", "test-only", "wait", "wrap"}
)


@dataclass(frozen=True)
class Cluster:
    """How jobs are asked for: a time limit in minutes, and further options of sbatch by their long names."""

    minutes: int
    options: Mapping[str, str | bool]


def read_options(given: Mapping[str, str]) -> Cluster:
    """The user's options of sbatch, checked as far as that can be done here.

    Raises:
        ExecutorError: one is set by this program, or cannot be one.
    """
    rest = dict(given)
    time = rest.pop("time", str(MINUTES))
    if not time.isdecimal() or int(time) < 1:
        raise ExecutorError(f"Slurm option time={time}: give a whole number of minutes, at least 1")
    for name, value in rest.items():
        if name in OURS:
            raise ExecutorError(f"Slurm option {name} is set by this program and cannot be chosen")
        if not re.fullmatch("[a-z][a-z0-9-]*", name) or "\n" in value:
            raise ExecutorError(f"Slurm option {name!r} is none: give sbatch's long names without the dashes")
    return Cluster(int(time), {name: value or True for name, value in rest.items()})


def check_submitit() -> None:
    """See that submitit is installed.

    Raises:
        ExecutorError: it is not.
    """
    try:
        import submitit  # noqa: F401 - only whether it is there
    except ImportError:
        raise ExecutorError(
            "--executor slurm needs submitit, which is not installed; pip install 'hubrouter-audit[cluster]'"
        ) from None


def submit(
    spool: Spool, runs: Sequence[SlurmRun], cluster: Cluster, *, alone: bool = False, at_a_time: int | None = None
) -> None:
    """Submit runs as job arrays and note their jobs in the spool; those that are `alone` get whole nodes, in turn.

    Raises:
        ExecutorError: Slurm refuses them.
    """
    for at in range(0, len(runs), ARRAY_LIMIT):
        _submit_array(spool, runs[at : at + ARRAY_LIMIT], cluster, alone, 1 if alone else at_a_time or AT_A_TIME)


def _submit_array(spool: Spool, runs: Sequence[SlurmRun], cluster: Cluster, alone: bool, at_a_time: int) -> None:
    """One array. An interrupt waits until the jobs are noted, or nobody would know them."""
    executor = _executor(spool, cluster, alone, at_a_time)
    try:
        with interrupts_held(), contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it also raises
            jobs = executor.submit_array(list(runs))
            for run, job in zip(runs, jobs, strict=True):
                spool.give_to(run.run, job.job_id)
    except (OSError, RuntimeError) as error:  # submitit's errors are RuntimeErrors
        raise ExecutorError(f"Slurm takes no jobs: {' '.join(str(error).split())}") from None


def _executor(spool: Spool, cluster: Cluster, alone: bool, at_a_time: int) -> SlurmExecutor:
    """An executor of submitit's for one array."""
    from submitit.slurm.slurm import SlurmExecutor

    executor = SlurmExecutor(spool.jobs, max_num_timeout=TIMEOUTS_ALLOWED)
    executor.update_parameters(
        job_name=JOB_NAME,
        time=cluster.minutes,
        cpus_per_task=1,
        exclusive=alone or None,
        array_parallelism=at_a_time,
        signal_delay_s=min(WARNING_SECONDS, 15 * cluster.minutes),
        additional_parameters={"requeue": True, **cluster.options},
    )
    return executor


def job_named(spool: Spool, name: str) -> SlurmJob[object]:
    """A job as submitit sees it: where its files are."""
    from submitit import SlurmJob

    return SlurmJob(spool.jobs, name)
