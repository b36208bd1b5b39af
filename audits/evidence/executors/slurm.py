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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import submitit

from audits.evidence.executors.execution import packed
from audits.evidence.executors.executor import Died, Event, ExecutorError, Failed, Requeued, Submission
from audits.evidence.executors.slurm_commands import JOB_NAME, check_commands, command, job_parameters, job_states
from audits.evidence.executors.slurm_run import SlurmRun, reported
from audits.evidence.executors.worker import interrupts_held

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


@dataclass
class Watched:
    """A job that is followed, the events that were passed on, and how often it was seen over without a result."""

    job: submitit.Job[list[Event]]
    events: list[Event] = field(default_factory=list)
    looks: int = 0


class SlurmExecutor:
    """Job arrays, one for exclusive runs and one for the others; looks at the queue every `poll` seconds.

    Raises:
        ExecutorError: there is no Slurm here, the options are wrong, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, str], *, at_a_time: int | None = None, poll: float = POLL_SECONDS
    ) -> None:
        check_commands()
        self._parameters = {
            exclusive: job_parameters(options, at_a_time or AT_A_TIME, exclusive=exclusive)
            for exclusive in (False, True)
        }
        self._folder, self._poll = folder.absolute(), poll  # each run's files in it bear the run's address
        self._jobs = self._folder / "jobs"  # what submitit sends to jobs, what they return, and their logs
        self._watched: dict[str, Watched] = {}
        self._refused: list[Event] = []
        self._lock = contextlib.ExitStack()
        self._answered = time.monotonic()
        try:
            self._jobs.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)  # what lies in it is unpickled
        except OSError as error:
            raise ExecutorError(f"{folder}: cannot be written: {error.strerror}; choose --checkpoints DIR") from None

    def __enter__(self) -> Self:
        """Lock the folder: two processes would collect each other's jobs."""
        handle = self._lock.enter_context((self._folder / "lock").open("a"))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise ExecutorError(f"{self._folder}: another command gathers through this folder; let it end") from None
        except OSError:
            pass  # a file system that knows no locks
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Jobs stay: on a cluster a gathering takes longer than a terminal is open."""
        self._lock.close()

    @property
    def left_behind(self) -> str:
        """How many jobs go on without this process, and what to do with them."""
        count = len(self._watched)
        what = f"the same command collects them, scancel --name={JOB_NAME} ends them"
        return f"runs that stay with Slurm: {count}; {what}" if count else ""

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Submit runs as arrays, but those that a job already executes or has executed."""
        states = job_states() if submissions else {}
        new: dict[bool, list[SlurmRun]] = {False: [], True: []}
        for submission in submissions:
            run, job = submission.run, self._job_of(submission.run)
            if job and (job.paths.result_pickle.exists() or states.get(job.job_id, UNKNOWN) not in OVER):
                self._watched[run] = Watched(job)
                continue
            self.forget(run, keep_log=True)
            try:
                new[submission.exclusive].append(SlurmRun(run, packed(submission), self._file(run, "events")))
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
    """What a job returned."""
    try:
        events: object = job.result()
    except Exception as problem:  # a damaged file can raise anything
        events = problem
    if isinstance(events, list):
        return events
    return [Failed(run, f"job {job.job_id}: its result cannot be read: {' '.join(repr(events).split())[-300:]}")]
