"""What the user sees while an audit runs: a bar on a terminal, and one line where it is going to take long."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from audits.subject import progress

SLOW = 1.0  # seconds of one forward pass above which the user is warned beforehand how long all will take
CALLS = 2  # forward passes after which that can be said: the first one is often slow
MINUTE, HOUR = 60.0, 3600.0


class Waiting:
    """Watches an audit on behalf of a user; the bar goes to standard error, and only to a terminal."""

    def __init__(self, *, limited: bool, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._bar = Progress(
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
        self._task: TaskID = self._bar.add_task(progress.PREPARING, total=0)
        self._told = limited  # whoever has set a budget knows

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def watch(self, now: progress.Progress) -> None:
        """Move the bar; say once how long it will take, where that is long."""
        self._bar.update(self._task, description=now.stage, completed=now.forwards, total=now.expected)
        if not self._told and now.forwards >= CALLS:
            self._told = True
            if now.each > SLOW:
                sys.stderr.write(f"{estimate(now)}\n")


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
