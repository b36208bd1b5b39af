"""What a job of Slurm executes, and the file in which it reports how far it is."""

from __future__ import annotations

import contextlib
import pickle
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import Checkpointable

from audits.evidence.executors.execution import execute
from audits.evidence.executors.executor import Began, Event, ProgressReported

PROGRESS_SECONDS = 2.0  # between two reports of progress, which go to a file system that many share


@dataclass
class SlurmRun(Checkpointable):
    """A run as submitit calls it, again after a requeue: it goes on from its own checkpoint."""

    run: str  # its address
    data: bytes  # what it does, packed
    reports: Path  # the file for the latest event of each kind

    def __call__(self) -> list[Event]:
        """Execute the run; what it reported last, and its end."""
        events: dict[type, Event] = {}

        def report(event: Began | ProgressReported) -> None:
            events[type(event)] = event
            partial = self.reports.with_suffix(".partial")
            with contextlib.suppress(OSError):  # the result is worth more than the report
                partial.write_bytes(pickle.dumps(list(events.values())))
                partial.replace(self.reports)  # so that no reader meets half of it

        # SystemExit is how submitit ends the process after a requeue: it must not become the run's failure.
        end = execute(self.run, self.data, report, PROGRESS_SECONDS, catch=Exception)
        return [*events.values(), end]


def reported(reports: Path) -> list[Event]:
    """What a run's job reported last; nothing where it cannot be read."""
    try:
        events: list[Event] = pickle.loads(reports.read_bytes())  # noqa: S301 - from a folder that is closed to others
    except Exception:  # a damaged file can raise anything
        return []
    return events
