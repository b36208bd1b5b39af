"""Exit codes (contract) and the one kind of error that a command reports in one line."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

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
        near = difflib.get_close_matches(unknown[0], known)
        instead = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(dict.fromkeys(known))}"
        raise CommandError(f"no {what} is called {', '.join(unknown)}; {instead}")
