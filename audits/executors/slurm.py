"""Runs as jobs of a Slurm cluster.

The jobs only read their job and write their answer; this process looks after them, so that nothing else writes the
ledger. Jobs outlive this process: the next one finds them by the spool and goes on. A job that dies is begun once more
by a requeue, as is one that Slurm or submitit requeues by itself; either goes on from the run's checkpoint.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from audits.executors.carrying import NoResult, Result, packed
from audits.executors.executor import (
    Began,
    Died,
    Event,
    ExecutorError,
    Failed,
    Finished,
    Order,
    Placed,
    Requeued,
    Told,
)
from audits.executors.slurm_commands import JOB_NAME, PHASES, Phase, cancel, check_commands, requeue, states
from audits.executors.slurm_job import Answer, SlurmRun
from audits.executors.slurm_submit import check_submitit, job_named, read_options, submit
from audits.executors.spool import Report, Spool

if TYPE_CHECKING:
    from submitit import SlurmJob

POLL_SECONDS = 10.0  # between two looks at the queue; more would burden a controller that many use (our choice)
LOOKS_WITHOUT_ANSWER = 3  # a job that is over is given so many looks: shared file systems show files late (our choice)
OUTAGE_SECONDS = 900.0  # a controller may be away so long, to be restarted say (our choice)


@dataclass
class _Tracked:
    """A run that Slurm has: its job, and what was told about it."""

    run: SlurmRun
    alone: bool
    job: SlurmJob[object]
    placed: bool = False
    attempt: str | None = None  # the one under way, once it reported
    ended: str | None = None  # the one before, whose report may still lie there
    report: Report | None = None
    state: str = ""
    looks: int = 0  # at a job that is over and left no answer

    def back_in_queue(self) -> None:
        """The attempt is over, another will come."""
        self.ended, self.attempt = self.attempt or self.ended, None
        self.placed, self.report, self.looks = False, None, 0


class SlurmExecutor:
    """Job arrays through submitit, one for each class of run; looks at the queue every `poll` seconds.

    Raises:
        ExecutorError: there is no Slurm or no submitit here, the options are wrong, or the folder cannot be written.
    """

    def __init__(
        self, folder: Path, options: Mapping[str, str], *, at_a_time: int | None = None, poll: float = POLL_SECONDS
    ) -> None:
        check_submitit()
        check_commands()
        self._cluster, self._spool = read_options(options), Spool(folder.absolute())
        self._at_a_time, self._poll = at_a_time, poll
        self._tracked: dict[str, _Tracked] = {}
        self._news: list[Event] = []
        self._lock = contextlib.ExitStack()
        self._next_look, self._heard = 0.0, time.monotonic()
        try:
            self._spool.make()
        except OSError as error:
            raise ExecutorError(f"{folder}: cannot be written: {error.strerror}; choose --checkpoints DIR") from None

    def __enter__(self) -> Self:
        """Take the folder: two processes would collect each other's jobs."""
        self._lock.enter_context(self._spool.held())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Jobs stay: on a cluster a gathering takes longer than a terminal is open."""
        self._lock.close()

    @property
    def left_behind(self) -> str:
        """How many jobs go on without this process, and what to do with them."""
        count = len(self._tracked)
        what = f"the same command collects them, scancel --name={JOB_NAME} ends them"
        return f"runs that stay with Slurm: {count}; {what}" if count else ""

    def submit(self, orders: Sequence[Order]) -> None:
        """Submit runs as arrays, but those that a job has already, queued by an earlier process."""
        known = states() if orders else {}
        new: dict[bool, list[SlurmRun]] = {False: [], True: []}
        for order in orders:
            try:
                data = packed(order.job)
            except ValueError as error:
                self._news.append(Failed(order.run, str(error)))
                continue
            run = SlurmRun(data, order.run, order.job.options.device, self._spool.folder)
            if not self._adopt(run, order.alone, known):
                new[order.alone].append(run)
        for alone, runs in new.items():
            self._submit(runs, alone)

    def _adopt(self, run: SlurmRun, alone: bool, known: Mapping[str, str]) -> bool:
        """Take over the job that an earlier process submitted for the run, where it goes on or has answered."""
        name = self._spool.job_of(run.run)
        if name is None:
            return False
        job = job_named(self._spool, name)
        if not job.paths.result_pickle.exists() and PHASES.get(known.get(name, ""), Phase.OVER) is Phase.OVER:
            return False
        self._tracked[run.run] = _Tracked(run, alone, job)
        return True

    def _submit(self, runs: Sequence[SlurmRun], alone: bool) -> None:
        """Submit runs that no job has."""
        submit(self._spool, runs, self._cluster, alone=alone, at_a_time=self._at_a_time)
        for run in runs:
            job = job_named(self._spool, self._spool.job_of(run.run) or "")
            self._tracked[run.run] = _Tracked(run, alone, job)

    def resubmit(self, run: str) -> None:
        """Requeue the run's job; where that cannot be, submit another."""
        tracked = self._tracked[run]
        tracked.back_in_queue()
        try:
            requeue(tracked.job.job_id)
        except ExecutorError:
            self._submit([tracked.run], tracked.alone)

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What a look at the queue shows."""
        if not self._news:
            time.sleep(max(0.0, min(self._next_look - time.monotonic(), math.inf if seconds is None else seconds)))
            if time.monotonic() >= self._next_look:
                self._news.extend(self._look())
                self._next_look = time.monotonic() + self._poll
        news, self._news = self._news, []
        return news

    def cancel(self, run: str) -> None:
        """End a run's job."""
        with contextlib.suppress(ExecutorError):  # it may have ended meanwhile
            cancel(self._tracked[run].job.job_id)

    def forget(self, run: str, *, keep_log: bool = False) -> None:
        """Delete a run's files; a job that still has it is ended."""
        tracked, name = self._tracked.pop(run, None), self._spool.job_of(run)
        self._spool.forget(run)
        if name is None:
            return
        paths = (tracked.job if tracked else job_named(self._spool, name)).paths
        if not paths.result_pickle.exists():
            with contextlib.suppress(ExecutorError):
                cancel(name)
        for file in (paths.result_pickle, paths.submitted_pickle, *(() if keep_log else (paths.stdout, paths.stderr))):
            file.unlink(missing_ok=True)

    def _look(self) -> Iterator[Event]:
        """One look at the queue and at all reports and answers."""
        known = self._states()
        for tracked in list(self._tracked.values()):
            if known is not None:
                tracked.state = known.get(tracked.job.job_id, "unknown to Slurm")
            yield from self._see(tracked, known is not None)

    def _states(self) -> Mapping[str, str] | None:
        """The queue; None while its controller does not answer, which it may do for a while."""
        try:
            known = states()
        except ExecutorError as error:
            if time.monotonic() - self._heard > OUTAGE_SECONDS:
                raise ExecutorError(f"Slurm has not answered for {OUTAGE_SECONDS / 60:g} minutes: {error}") from None
            return None
        self._heard = time.monotonic()
        return known

    def _see(self, tracked: _Tracked, fresh: bool) -> Iterator[Event]:
        """What is new about one run; its state is looked at before its answer, which is there when the job ends."""
        if tracked.job.paths.result_pickle.exists():
            yield from self._answer(tracked)
            return
        phase = PHASES.get(tracked.state, Phase.OVER)
        if not fresh:
            return
        if phase is Phase.WAITING and tracked.placed:
            tracked.back_in_queue()
            yield Requeued(tracked.run.run, f"job {tracked.job.job_id} was requeued")
        elif phase is Phase.RUNNING:
            tracked.looks = 0
            yield from self._running(tracked)
        elif phase is Phase.OVER:
            yield from self._over(tracked)

    def _running(self, tracked: _Tracked) -> Iterator[Event]:
        """News of a job that runs."""
        run, report = tracked.run.run, self._spool.report_of(tracked.run.run)
        if report and tracked.attempt and report.attempt != tracked.attempt:
            tracked.back_in_queue()
            yield Requeued(run, f"job {tracked.job.job_id} was requeued and restarted")
        if not tracked.placed:
            tracked.placed = True
            yield Placed(run)
        if report is None or report == tracked.report or report.attempt == tracked.ended:
            return
        if tracked.attempt is None:
            tracked.attempt = report.attempt
            yield Began(run, report.environment)
        tracked.report = report
        if report.total:
            yield Told(run, report.done, report.total, report.note)

    def _over(self, tracked: _Tracked) -> Iterator[Event]:
        """A job that ended without an answer died, unless the answer takes its time to be seen."""
        tracked.looks += 1
        if tracked.looks == LOOKS_WITHOUT_ANSWER:
            name = tracked.job.job_id
            yield Died(tracked.run.run, f"job {name}", tracked.state, advice=f"its log is {tracked.job.paths.stderr}")

    def _answer(self, tracked: _Tracked) -> Iterator[Event]:
        """The end of a run."""
        run = tracked.run.run
        try:
            answer = _read_answer(tracked.job)
        except ExecutorError as problem:
            yield Failed(run, str(problem))
            return
        if tracked.attempt is None:
            yield Began(run, answer.environment)
        match answer.outcome:
            case Result(text, seconds):
                yield Finished(run, text, seconds)
            case NoResult(error):
                yield Failed(run, error)


def _read_answer(job: SlurmJob[object]) -> Answer:
    """What a job sent back.

    Raises:
        ExecutorError: it cannot be read.
    """
    try:
        answer = job.result()
    except Exception as problem:  # a damaged file can raise anything
        why = " ".join(str(problem).split())[-300:]
        raise ExecutorError(f"job {job.job_id}: its answer cannot be read: {why}") from None
    if not isinstance(answer, Answer):
        raise ExecutorError(f"job {job.job_id}: its answer cannot be read: it is of type {type(answer).__name__}")
    return answer
