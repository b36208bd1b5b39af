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
from pathlib import Path
from types import TracebackType
from typing import Self

from audits.evidence.executors.carrying import packed
from audits.evidence.executors.executor import Event, ExecutorError, Failed, Order
from audits.evidence.executors.slurm_commands import JOB_NAME, PHASES, Phase, cancel, check_commands, requeue, states
from audits.evidence.executors.slurm_job import SlurmRun
from audits.evidence.executors.slurm_submit import check_submitit, job_named, read_options, submit
from audits.evidence.executors.slurm_watch import Watched
from audits.evidence.executors.spool import Spool

POLL_SECONDS = 10.0  # between two looks at the queue; more would burden a controller that many use (our choice)
OUTAGE_SECONDS = 900.0  # a controller may be away so long, to be restarted say (our choice)


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
        self._tracked: dict[str, Watched] = {}
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
        self._tracked[run.run] = Watched(run, alone, job)
        return True

    def _submit(self, runs: Sequence[SlurmRun], alone: bool) -> None:
        """Submit runs that no job has."""
        submit(self._spool, runs, self._cluster, alone=alone, at_a_time=self._at_a_time)
        for run in runs:
            job = job_named(self._spool, self._spool.job_of(run.run) or "")
            self._tracked[run.run] = Watched(run, alone, job)

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
            state = None if known is None else known.get(tracked.job.job_id, "unknown to Slurm")
            yield from tracked.look(self._spool, state)

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
