"""What the user sees while runs are executed: bars on a terminal, one plain line a finished run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

OVERALL = "all runs"


class Display:
    """A bar for every run under way and one for all of them; `key` is a run's address.

    `expected` are the seconds that each run is expected to take, in which the time left is measured.
    """

    def __init__(self, console: Console, expected: Mapping[str, float]) -> None:
        self._console, self._expected, self._ended, self._finished = console, expected, 0, 0.0
        self._total = len(expected)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            refresh_per_second=4,  # more would take time from the runs
            disable=not console.is_terminal,
        )
        self._start = time.monotonic()
        self._overall = self._bars.add_task(OVERALL, total=sum(expected.values()), note="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, key: str, label: str) -> None:
        """Show the bar of a run that begins, or begins once more."""
        self._leave(key)
        self._tasks[key] = self._bars.add_task(label, total=None, note="starting")
        self._move_overall()

    def update(self, key: str, done: int, total: int, note: str) -> None:
        """Move a run's bar."""
        self._bars.update(self._tasks[key], completed=done, total=total, note=note)
        self._move_overall()

    def pause(self, key: str, line: str) -> None:
        """Take away the bar of a run that will be begun again, and say why."""
        self._leave(key)
        self.say(line)

    def end(self, key: str, line: str, *, failed: bool = False) -> None:
        """Count a run as done; its line is shown where there are no bars, and always where it failed."""
        self._ended += 1
        self._finished += self._expected[key]
        self._leave(key)
        if failed or not self._console.is_terminal:
            self.say(f"[{self._ended}/{self._total}] {line}{self._left()}")

    def _left(self) -> str:
        """The time left by what runs are expected to take and what they took so far, where there are no bars."""
        done, total = self._done(), sum(self._expected.values())
        if self._console.is_terminal or self._ended >= self._total or not done:
            return ""
        seconds = (time.monotonic() - self._start) * (total - done) / done
        return f"; about {timedelta(seconds=round(seconds))} left"

    def _done(self) -> float:
        """The expected seconds of what ended, and of its share of what is under way."""
        bars = {task.id: task.percentage / 100 for task in self._bars.tasks}
        return self._finished + sum(self._expected[key] * bars[bar] for key, bar in self._tasks.items())

    def _leave(self, key: str) -> None:
        """Take away a run's bar and its share of the overall one."""
        if key in self._tasks:  # a run may end without having begun
            self._bars.remove_task(self._tasks.pop(key))
        self._move_overall()

    def _move_overall(self) -> None:
        """The overall bar: what is done; and how many ended, run and wait."""
        running = len(self._tasks)
        note = f"{self._ended} of {self._total} done, {running} running"
        self._bars.update(self._overall, completed=self._done(), note=note)

    def say(self, line: str) -> None:
        """Print a line, above the bars where there are some."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
