"""The time an audit may take: no forward pass starts once it is spent, and a running one can be interrupted."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

GRACE = 2.0  # seconds a forward pass may go on after the budget before it is interrupted; our choice


class OutOfTime(BaseException):
    """The budget is spent.

    Not an Exception, like KeyboardInterrupt: code that takes an error for the model's refusal must not catch this, or a
    probe would pass by what it never ran.
    """


class Budget:
    """Wall time, counted from when this is made.

    Attributes:
        seconds: how many; None is no limit.
        interrupt: also interrupt a forward pass that is still running `GRACE` seconds later (SIGALRM: main thread of
            POSIX systems).
    """

    def __init__(self, seconds: float | None = None, *, interrupt: bool = False) -> None:
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < math.inf):
            raise ValueError(f"the budget must be a number of seconds above 0, not {seconds!r}")
        self.seconds, self.interrupt = seconds, interrupt
        self._started = time.monotonic()
        self._until = math.inf  # seconds after the start, up to which a share lasts

    def __str__(self) -> str:
        return "no budget" if self.seconds is None else f"the budget of {self.seconds:g} s"

    @property
    def used(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds left; infinite where there is no limit, negative once it is spent."""
        return math.inf if self.seconds is None else min(self.seconds, self._until) - self.used

    @contextmanager
    def share(self, part: float) -> Iterator[None]:
        """Around work that may take a part of the time left, at most all of it."""
        self._until = self.used + max(0.0, min(1.0, part) * self.left)
        try:
            yield
        finally:
            self._until = math.inf

    def check(self) -> None:
        """Raise OutOfTime once the budget is spent."""
        if self.left <= 0:
            self._expire()

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Around code of the subject: not started once the budget is spent, interrupted afterwards if `interrupt`.

        Raises:
            OutOfTime: the budget is spent.
        """
        self.check()
        can_interrupt = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
        if self.seconds is None or not self.interrupt or not can_interrupt:
            yield
            return
        before = signal.signal(signal.SIGALRM, lambda *_: self._expire())
        # Repeatedly, because a model may catch whatever is raised inside it.
        signal.setitimer(signal.ITIMER_REAL, self.left + GRACE, GRACE)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before or signal.SIG_DFL)

    def _expire(self) -> NoReturn:
        share = self.seconds is not None and self.used < self.seconds
        raise OutOfTime(f"{'its share of ' if share else ''}{self} ran out")
