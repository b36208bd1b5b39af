"""Runs as jobs of a Slurm cluster, through submitit.

The jobs only read their run and write its result; this process follows them, so that nothing else writes the ledger.
Jobs outlive this process: the next one finds them by the shared folder and goes on. submitit requeues a job at its time
limit and before a preemption; it and a job that is submitted again go on from the run's checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import submitit

from audits.evidence.code_hash import code_of
from audits.evidence.executors.executor import Died, Event, Executor, ExecutorError, Failed, Requeued, Task
from audits.evidence.executors.slurm_run import SlurmRun, reported
from audits.evidence.executors.worker import interrupts_held

JOB_NAME = "hubrouter-audit"
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
COMMAND_SECONDS = 120  # a busy controller may take so long to answer (our choice)
MINUTES = "60"  # a job's time limit where none is given; a run that keeps checkpoints goes on in the next (our choice)
WARNING_SECONDS = 90  # before the time limit a job is warned and goes back to the queue; submitit's default
POLL_SECONDS = 10.0  # between two looks at the queue; more would burden a controller that many use (our choice)
OUTAGE_SECONDS = 900.0  # a controller may be away so long, to be restarted say (our choice)
LOOKS_WITHOUT_RESULT = 3  # at a job that is over, before it counts as dead: shared file systems show files late
TIMEOUTS_ALLOWED = 50  # so often a run goes back to the queue at its time limit; then it will never end (our choice)
ARRAY_LIMIT = 1000  # Slurm's own limit on an array, where a cluster has not set another
AT_A_TIME = 256  # jobs of an array that run at the same time, where nothing else is asked for; submitit's default
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
UNKNOWN = "unknown to Slurm"
OVER = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"}
    | {"TIMEOUT", UNKNOWN}
)
OURS = frozenset(
    {"array", "chdir", "error", "input", "job-name", "nodes", "ntasks", "ntasks-per-node", "open-mode", "output"}
    | {"no-requeue", "parsable", "requeue", "signal", "test-only", "wait", "wrap"}
)


def job_states() -> dict[str, str]:
    """The state of every job of ours that the controller knows, ended ones included, by its number.

    submitit asks sacct, which needs an accounting database; many clusters have none.
    """
    lines = command("squeue", "--me", f"--name={JOB_NAME}", "--states=all", "--array", "--noheader", "--format=%i|%T")
    pairs = (line.strip().partition("|") for line in lines.splitlines())
    return {job: state for job, _, state in pairs}


def command(*words: str) -> str:
    """A command's output, or ExecutorError where it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutorError(f"{words[0]}: {error}") from None
    if done.returncode:
        raise ExecutorError(f"{words[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def job_parameters(options: Mapping[str, str], at_a_time: int, *, exclusive: bool) -> dict[str, Any]:
    """What submitit needs to know of an array of jobs; exclusive ones get whole nodes, one after the other.

    `options` are the user's for sbatch, by their long names; one without a value is a switch. ExecutorError where one
    is set by this program, or is none.
    """
    for name, value in options.items():
        if name in OURS:
            raise ExecutorError(f"Slurm option {name} is set by this program and cannot be chosen")
        if not re.fullmatch("[a-z0-9-]*[a-z0-9]", name) or "\n" in value:
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


@dataclass
class Watched:
    """A job that is followed, the events that were passed on, and how often it was seen over without a result."""

    job: submitit.Job[list[Event]]
    events: list[Event] = field(default_factory=list)
    looks: int = 0


class SlurmExecutor(Executor):
    """Job arrays, one for exclusive runs and one for the others; looks at the queue every `poll` seconds."""

    def __init__(
        self, folder: Path, options: Mapping[str, str], *, at_a_time: int | None = None, poll: float = POLL_SECONDS
    ) -> None:
        if missing := [name for name in COMMANDS if shutil.which(name) is None]:
            what = ", ".join(missing)
            raise ExecutorError(f"--executor slurm needs Slurm's commands on this machine; not found: {what}")
        self._parameters = {
            exclusive: job_parameters(options, at_a_time or AT_A_TIME, exclusive=exclusive)
            for exclusive in (False, True)
        }
        self._folder, self._poll = folder.absolute(), poll  # each run's files in it bear the run's address
        self._jobs = self._folder / "jobs"  # what submitit sends to jobs, what they return, and their logs
        self._watched: dict[str, Watched] = {}
        self._refused: list[Event] = []
        self._answered = time.monotonic()
        try:
            self._jobs.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)  # what lies in it is unpickled
        except OSError as error:
            raise ExecutorError(f"{folder}: cannot be written: {error.strerror}; choose --checkpoints DIR") from None

    def __enter__(self) -> Self:
        """Lock the folder: two processes would collect each other's jobs."""
        self._lock = (self._folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ExecutorError(f"{self._folder}: another command gathers through this folder; let it end") from None
        except OSError:
            pass  # a file system that knows no locks
        return self

    def __exit__(self, *_: object) -> None:
        """Jobs stay: on a cluster a gathering takes longer than a terminal is open."""
        self._lock.close()

    @property
    def left_behind(self) -> str:
        """How many jobs go on without this process, and what to do with them."""
        count = len(self._watched)
        what = f"the same command collects them, scancel --name={JOB_NAME} ends them"
        return f"runs that stay with Slurm: {count}; {what}" if count else ""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit runs as arrays, but those that a job already executes or has executed."""
        states = job_states() if tasks else {}
        new: dict[bool, list[SlurmRun]] = {False: [], True: []}
        for task in tasks:
            run, job = task.run, self._job_of(task.run)
            if job and (job.paths.result_pickle.exists() or states.get(job.job_id, UNKNOWN) not in OVER):
                self._watched[run] = Watched(job)
                continue
            self.forget(run, keep_log=True)
            try:
                packed = task.packed(code_of(task.experiment))
                new[task.experiment.exclusive].append(SlurmRun(run, packed, self._file(run, "events")))
            except ValueError as error:
                self._refused.append(Failed(run, str(error)))
        for exclusive, runs in new.items():
            for at in range(0, len(runs), ARRAY_LIMIT):
                self._submit_array(runs[at : at + ARRAY_LIMIT], self._parameters[exclusive])

    def _submit_array(self, runs: Sequence[SlurmRun], parameters: Mapping[str, object]) -> None:
        """One array. An interrupt waits until its jobs are noted, or nobody would know them."""
        executor = submitit.SlurmExecutor(self._jobs, max_num_timeout=TIMEOUTS_ALLOWED)
        executor.update_parameters(**parameters)
        try:
            with interrupts_held(), contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it also raises
                for run, job in zip(runs, executor.submit_array(runs), strict=True):
                    self._file(run.run, "job").write_text(job.job_id, encoding="utf-8")
                    self._watched[run.run] = Watched(job)
        except (OSError, RuntimeError) as error:  # submitit's errors are RuntimeErrors
            raise ExecutorError(f"Slurm takes no jobs: {' '.join(str(error).split())}") from None

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What cannot be submitted, else what the next look at the queue shows."""
        if not self._refused:
            time.sleep(min(self._poll, math.inf if seconds is None else seconds))
            return list(self._look())
        refused, self._refused = self._refused, []
        return refused

    def forget(self, run: str, *, keep_log: bool = False) -> None:
        """Delete a run's files, and end its job where that has no result."""
        self._watched.pop(run, None)
        files = [self._file(run, kind) for kind in ("job", "events", "partial")]
        if job := self._job_of(run):
            if not job.paths.result_pickle.exists():
                with contextlib.suppress(ExecutorError):  # it may have ended meanwhile
                    command("scancel", job.job_id)
            files += [job.paths.result_pickle, job.paths.submitted_pickle]
            files += [] if keep_log else [job.paths.stdout, job.paths.stderr]
        for file in files:
            file.unlink(missing_ok=True)

    def _look(self) -> Iterator[Event]:
        """One look at the queue, and then at all results: a result is there before its job is over."""
        states = self._states()
        for run, watched in list(self._watched.items()):
            state = None if states is None else states.get(watched.job.job_id, UNKNOWN)
            events = self._events(run, watched, state)
            yield from (event for event in events if event not in watched.events)
            watched.events = [] if state in WAITING else events

    def _events(self, run: str, watched: Watched, state: str | None) -> list[Event]:
        """All that happened to a run since its job began; `state` is None where Slurm does not answer."""
        job = watched.job
        if job.paths.result_pickle.exists():
            return _result(run, job)
        if state in WAITING:
            self._file(run, "events").unlink(missing_ok=True)
            return [Requeued(run, f"job {job.job_id} was requeued")] if watched.events else []
        watched.looks = watched.looks + 1 if state in OVER else 0
        if watched.looks == LOOKS_WITHOUT_RESULT:
            return [Died(run, f"job {job.job_id}", str(state), f"its log is {job.paths.stderr}")]
        return reported(self._file(run, "events")) or watched.events

    def _states(self) -> Mapping[str, str] | None:
        """The queue; None while its controller does not answer, which it may do for a while."""
        try:
            states = job_states()
        except ExecutorError as error:
            if time.monotonic() - self._answered > OUTAGE_SECONDS:
                raise ExecutorError(f"Slurm has not answered for {OUTAGE_SECONDS / 60:g} minutes: {error}") from None
            return None
        self._answered = time.monotonic()
        return states

    def _job_of(self, run: str) -> submitit.Job[list[Event]] | None:
        """The job that a run was given to; None where none is known."""
        try:
            return submitit.SlurmJob(self._jobs, self._file(run, "job").read_text(encoding="utf-8"))
        except OSError:
            return None

    def _file(self, run: str, kind: str) -> Path:
        return self._folder / f"{run}.{kind}"


def _result(run: str, job: submitit.Job[list[Event]]) -> list[Event]:
    try:
        events: object = job.result()
    except Exception as problem:  # a damaged file can raise anything
        events = problem
    if isinstance(events, list):
        return events
    return [Failed(run, f"job {job.job_id}: its result cannot be read: {' '.join(repr(events).split())[-300:]}")]
