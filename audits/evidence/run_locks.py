"""Locks on runs, so that gatherings on one ledger share the work: whoever holds a run's lock executes it.

A lock is one byte of a file beside the ledger, at a place that the run's address gives. The system releases it when its
process ends, however that ends: there is no stale lock, and nothing that has to be renewed. Record locks are those that
NFS has. Where a file system knows locks within one machine only (NFS mounted with `nolock`), two machines execute a run
twice; the ledger holds its latest record then.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Self

from audits.evidence.ledger import LedgerError

FILE_NAME = "runs.lock"
_DIGITS = 15  # of an address: 60 bits, as many as every file system allows for a place in a file


class RunLocks:
    """The runs that this process has locked, in the ledger's folder; a context, on leaving which all are released.

    Locks belong to a process: they exclude other processes only, and a process opens a folder's once at a time. Raises
    LedgerError where the file cannot be opened, or the file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            raise LedgerError(f"{self._path}: cannot be opened: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, run: str) -> bool:
        """Lock a run, or return False at once where another process has done so."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(run[:_DIGITS], 16))
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        except OSError as error:
            raise LedgerError(f"{self._path}: runs cannot be locked here: {error.strerror}") from None
        return True

    def release(self, run: str) -> None:
        """Unlock a run."""
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, int(run[:_DIGITS], 16))
