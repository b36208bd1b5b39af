"""The folder that the submitting process and the jobs of a cluster share: which job does a run, and how far it is.

Files are written beside and renamed, so that no reader meets half of one; one that is damaged counts as absent.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audits.evidence.executors.executor import ExecutorError


@dataclass(frozen=True)
class Report:
    """How far a run is, told by its job.

    Attributes:
        attempt: names the job and how often it was restarted.
        environment: the machine that the job runs on.
        done: steps done of `total`; both 0 before the first.
        total: steps in all.
        note: shown beside the progress.
    """

    attempt: str
    environment: dict[str, str]
    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True)
class Spool:
    """The shared folder; a run's files bear its address."""

    folder: Path

    @property
    def jobs(self) -> Path:
        """Where submitit keeps what it sends to jobs, what they answer, and their logs."""
        return self.folder / "jobs"

    def make(self) -> None:
        """Make the folder.

        Raises:
            OSError: it cannot be made or written.
        """
        self.jobs.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "writable.json", {})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out, this one's end included; where the file system knows no locks, nobody is kept out.

        Raises:
            ExecutorError: another process holds the folder.
        """
        with (self.folder / "lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ExecutorError(f"{self.folder}: another command gathers through this folder; let it end") from None
            except OSError:
                pass
            yield

    def job_of(self, run: str) -> str | None:
        """The job that a run was given to; None where none is known."""
        name = (_read(self._file(run, "job")) or {}).get("job")
        return name if isinstance(name, str) else None

    def give_to(self, run: str, job: str) -> None:
        """Note the job of a run."""
        _write(self._file(run, "job"), {"job": job})

    def report_of(self, run: str) -> Report | None:
        """What the run's job told last; None where it told nothing readable."""
        value = _read(self._file(run, "report"))
        kinds = {"attempt": str, "environment": dict, "done": int, "total": int, "note": str}
        whole = value is not None and value.keys() == kinds.keys()
        if value is None or not whole or not all(isinstance(value[name], kind) for name, kind in kinds.items()):
            return None
        return Report(**value)

    def tell(self, run: str, report: Report) -> None:
        """Tell how far a run is."""
        _write(self._file(run, "report"), asdict(report))

    def forget(self, run: str) -> None:
        """Delete the run's files."""
        for kind in ("job", "report"):
            self._file(run, kind).unlink(missing_ok=True)

    def _file(self, run: str, kind: str) -> Path:
        return self.folder / f"{run}.{kind}.json"


def _read(file: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no readable one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write(file: Path, value: dict[str, Any]) -> None:
    """Write beside and rename."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(value), encoding="utf-8")
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)
