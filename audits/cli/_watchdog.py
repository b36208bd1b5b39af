"""Ends a process that nothing else ends: a model that catches every error, or hangs inside native code."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from audits.cli._exits import UNDECIDED
from audits.subject.budget import Budget

STANDARD_ERROR = 2
PATIENCE = 60.0  # seconds, and at least as long as the budget: native code that merely is slow may end; our choice


@contextmanager
def last_resort(budget: Budget) -> Iterator[None]:
    """Around an audit with a budget: exit 3 with one line if it is still running long after the budget."""
    if budget.seconds is None:
        yield
        return
    timer = threading.Timer(budget.seconds + max(PATIENCE, budget.seconds), _end, (budget,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(budget: Budget) -> None:
    os.write(STANDARD_ERROR, f"hubrouter-audit: {budget} ran out, and the model cannot be stopped\n".encode())
    os._exit(UNDECIDED)
