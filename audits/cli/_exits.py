"""Exit codes (contract) and the one kind of error that a command reports in one line."""

from __future__ import annotations

OK = 0
FOUND = 1  # a leak, or a verdict that fails
CANNOT_RUN = 2
UNDECIDED = 3  # `model`: UNDETERMINED; `claims`: error
INTERRUPTED = 130


class CommandError(Exception):
    """What went wrong and how to fix it, in one line, with the exit code."""

    def __init__(self, message: str, code: int = CANNOT_RUN) -> None:
        super().__init__(message)
        self.code = code
