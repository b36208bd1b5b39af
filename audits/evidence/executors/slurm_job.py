"""What runs inside a job of Slurm: the run itself, its reports, and how it goes back to the queue."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audits.evidence.executors.carrying import NoResult, Result, carry_out
from audits.evidence.executors.spool import Report, Spool
from audits.evidence.experiment import Progress
from audits.evidence.machine import environment

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

REPORT_SECONDS = 2.0  # reports are written at most so often; the folder is on a file system that many share


@dataclass(frozen=True)
class Answer:
    """What a job sends back, and the machine it ran on."""

    outcome: Result | NoResult
    environment: dict[str, str]


@dataclass
class SlurmRun:
    """A run as submitit calls it. Before a time limit or preemption submitit asks for its `checkpoint` and requeues it.

    Attributes:
        data: the packed job.
        run: its address.
        device: what it uses.
        folder: the spool's.
    """

    data: bytes
    run: str
    device: str
    folder: Path
    _leaves: bool = field(default=False, init=False)

    def __call__(self) -> Answer:
        """Carry the run out."""
        _clear_half_written()
        report = Report(attempt(), environment(self.device))
        outcome = carry_out(self.data, _teller(Spool(self.folder), self.run, report))
        if self._leaves and isinstance(outcome, NoResult) and outcome.error.startswith(SystemExit.__name__):
            sys.exit(1)  # submitit ends the process so, but a run may not, and so it was caught
        return Answer(outcome, report.environment)

    def checkpoint(self) -> DelayedSubmission:
        """What is to be called after the requeue: the same, for the run finds its own checkpoint."""
        from submitit.helpers import DelayedSubmission

        self._leaves = True
        return DelayedSubmission(SlurmRun(self.data, self.run, self.device, self.folder))


def _clear_half_written() -> None:
    """Delete what an attempt that was killed while writing left: submitit refuses to write beside it."""
    if "SUBMITIT_FOLDER" not in os.environ:
        return
    from submitit import JobEnvironment

    paths = JobEnvironment().paths
    for file in (paths.result_pickle, paths.submitted_pickle):
        file.with_name(f"{file.name}.save_tmp").unlink(missing_ok=True)


def attempt() -> str:
    """Names this job and how often Slurm restarted it."""
    return f"{os.environ.get('SLURM_JOB_ID', '')}:{os.environ.get('SLURM_RESTART_COUNT', '0')}"


def _teller(spool: Spool, run: str, report: Report) -> Progress:
    """The run's progress function. A report that cannot be written is not worth a run: the result counts."""
    last = -REPORT_SECONDS

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < REPORT_SECONDS:
            return
        last = now
        with contextlib.suppress(OSError):
            spool.tell(run, replace(report, done=done, total=total, note=note))

    with contextlib.suppress(OSError):
        spool.tell(run, report)
    return tell
