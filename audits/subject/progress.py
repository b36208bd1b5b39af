"""How far an audit has come: forward passes are counted, and a callback is called a few times a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audits.subject.budget import Budget

INTERVAL = 0.1  # least number of seconds between two reports
PREPARING = "preparing"


@dataclass(frozen=True)
class Progress:
    """How far an audit has come.

    Attributes:
        stage: the probe that is running, or PREPARING.
        forwards: forward passes made, those of the copies in other precisions included.
        expected: forward passes of the whole audit, about.
        seconds: since the audit began.
        each: seconds of a forward pass, the quickest so far (the first is often slow); infinite before the first.
    """

    stage: str
    forwards: int
    expected: int
    seconds: float
    each: float


ProgressCallback = Callable[[Progress], None]


class AuditClock:
    """Budget and progress of one audit, shared by the subject and its copies."""

    def __init__(self, budget: Budget | None = None, callback: ProgressCallback | None = None) -> None:
        self.budget = budget or Budget()
        self.progress = Progress(PREPARING, 0, 0, 0.0, math.inf)
        self._callback = callback
        self._reported = -math.inf

    def begin_stage(self, stage: str, remaining: int) -> None:
        """A stage begins; from here on about so many forward passes remain."""
        self._reported = -math.inf
        self._report_progress(stage, 0, self.progress.forwards + remaining, self.progress.each)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around every forward pass.

        Raises:
            OutOfTime: the budget is spent.
        """
        started = time.monotonic()
        with self.budget.enforced():
            yield
        now = self.progress
        self._report_progress(now.stage, 1, now.expected, min(now.each, time.monotonic() - started))

    def _report_progress(self, stage: str, more: int, expected: int, each: float) -> None:
        forwards = self.progress.forwards + more
        self.progress = Progress(stage, forwards, max(expected, forwards), self.budget.used, each)
        if self._callback is not None and self.progress.seconds - self._reported >= INTERVAL:
            self._reported = self.progress.seconds
            self._callback(self.progress)
