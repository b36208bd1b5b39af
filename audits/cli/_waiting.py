"""What the user sees while an audit runs, and what ends one that nothing else ends."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from audits.cli._exits import UNDECIDED
from audits.subject import progress
from audits.subject.budget import Budget

SLOW = 1.0  # seconds of one forward pass above which the user is warned beforehand how long all will take
CALLS = 2  # forward passes after which that can be said: the first one is often slow
MINUTE, HOUR = 60.0, 3600.0
STANDARD_ERROR = 2
PATIENCE = 60.0  # seconds, and at least as long as the budget: native code that merely is slow may end; our choice


@contextmanager
def waiting(*, limited: bool, console: Console | None = None) -> Iterator[progress.ProgressCallback]:
    """What watches an audit for a user: it moves a bar on standard error, if a terminal, and says once what takes long.

    Who has set a budget (`limited`) knows how long it takes.
    """
    console = console or Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f} of about {task.total:.0f} forward passes"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,  # more would take time from the audit
        transient=True,
        disable=not console.is_terminal,
    )
    task, warned = bar.add_task(progress.PREPARING, total=0), limited

    def watch(now: progress.Progress) -> None:
        nonlocal warned
        bar.update(task, description=now.stage, completed=now.forwards, total=now.expected)
        if not warned and now.forwards >= CALLS and now.stage != progress.PREPARING:
            warned = True
            if now.each > SLOW:
                sys.stderr.write(f"{estimate(now)}\n")

    with bar:
        yield watch


def estimate(now: progress.Progress) -> str:
    """How long the audit will take at least: "one forward pass takes 31 s; the audit makes about 400: 3.4 h"."""
    whole = duration(now.each * now.expected)
    return (
        f"one forward pass takes {duration(now.each)}; the audit makes about {now.expected}, most of several rows: "
        f"{whole} or more; see --budget, --probes and --seq-len"
    )


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < MINUTE:
        return f"{seconds:.2g} s"
    return f"{seconds / MINUTE:.2g} min" if seconds < HOUR else f"{seconds / HOUR:.2g} h"


@contextmanager
def last_resort(budget: Budget) -> Iterator[None]:
    """Around an audit with a budget: exit 3 with one line if it is still running long after the budget.

    A model that catches every error, or hangs inside native code, is ended by nothing else.
    """
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
