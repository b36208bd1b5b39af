"""Exit codes (contract) and the one kind of error that a command reports in one line."""

from __future__ import annotations

import argparse
import math

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


def positive_seconds(text: str) -> float:
    """A number of seconds above zero, for options."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def positive(text: str) -> int:
    """A whole number of at least 1, for options."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number
