"""What one run's job is doing, put together from the state that Slurm tells, the job's reports and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audits.evidence.executors.carrying import NoResult, Result
from audits.evidence.executors.executor import (
    Began,
    Died,
    Event,
    ExecutorError,
    Failed,
    Finished,
    Placed,
    Requeued,
    Told,
)
from audits.evidence.executors.slurm_commands import PHASES, Phase
from audits.evidence.executors.slurm_job import Answer, SlurmRun
from audits.evidence.executors.spool import Report, Spool

if TYPE_CHECKING:
    from submitit import SlurmJob

LOOKS_WITHOUT_ANSWER = 3  # a job that is over is given so many looks: shared file systems show files late (our choice)


@dataclass
class Watched:
    """A run that Slurm has, its job, and what was told about it."""

    run: SlurmRun
    alone: bool
    job: SlurmJob[object]
    placed: bool = False
    attempt: str | None = None  # the one under way, once it reported
    ended: str | None = None  # the one before, whose report may still lie there
    report: Report | None = None
    looks: int = 0  # at a job that is over and left no answer

    def back_in_queue(self) -> None:
        """The attempt is over, another will come."""
        self.ended, self.attempt = self.attempt or self.ended, None
        self.placed, self.report, self.looks = False, None, 0

    def look(self, spool: Spool, state: str | None) -> Iterator[Event]:
        """What is new; `state` is None where Slurm does not answer.

        The state was asked for before the answer is looked for: an answer is there before its job is over.
        """
        if self.job.paths.result_pickle.exists():
            yield from self._answer()
            return
        phase = Phase.LEAVING if state is None else PHASES.get(state, Phase.OVER)
        if phase is Phase.WAITING and self.placed:
            self.back_in_queue()
            yield Requeued(self.run.run, f"job {self.job.job_id} was requeued")
        elif phase is Phase.RUNNING:
            self.looks = 0
            yield from self._running(spool.report_of(self.run.run))
        elif phase is Phase.OVER:
            yield from self._over(state or "")

    def _running(self, report: Report | None) -> Iterator[Event]:
        """News of a job that runs."""
        run = self.run.run
        if report and self.attempt and report.attempt != self.attempt:
            self.back_in_queue()
            yield Requeued(run, f"job {self.job.job_id} was requeued and restarted")
        if not self.placed:
            self.placed = True
            yield Placed(run)
        if report is None or report == self.report or report.attempt == self.ended:
            return
        if self.attempt is None:
            self.attempt = report.attempt
            yield Began(run, report.environment)
        self.report = report
        if report.total:
            yield Told(run, report.done, report.total, report.note)

    def _over(self, state: str) -> Iterator[Event]:
        """A job that ended without an answer died, unless the answer takes its time to be seen."""
        self.looks += 1
        if self.looks == LOOKS_WITHOUT_ANSWER:
            advice = f"its log is {self.job.paths.stderr}"
            yield Died(self.run.run, f"job {self.job.job_id}", state, advice=advice)

    def _answer(self) -> Iterator[Event]:
        """The end of a run."""
        run = self.run.run
        try:
            answer = _read_answer(self.job)
        except ExecutorError as problem:
            yield Failed(run, str(problem))
            return
        if self.attempt is None:
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
