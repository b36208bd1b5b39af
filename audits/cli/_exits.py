"""Exit codes (contract) and the one kind of error that a command reports in one line."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from audits.formatting import did_you_mean

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


def refuse_unknown(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise CommandError where one of the names is not known, with those that it may have meant, else with all."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise CommandError(f"no {what} is called {', '.join(unknown)}; {did_you_mean(unknown[0], known)}")
