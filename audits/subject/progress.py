"""How far an audit has come: forward passes are counted, and whoever watches is told a few times a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audits.subject.budget import Budget

INTERVAL = 0.1  # seconds between two tellings at least
PREPARING = "preparing"


@dataclass(frozen=True)
class Progress:
    """How far an audit has come.

    Attributes:
        stage: the probe that is running, or PREPARING.
        forwards: forward passes made, those of the copies in other precisions included.
        expected: forward passes that all is about to take.
        seconds: since the audit began.
        each: seconds of a forward pass, the quickest so far (the first is often slow); infinite before the first.
    """

    stage: str
    forwards: int
    expected: int
    seconds: float
    each: float


Watch = Callable[[Progress], None]


class Pace:
    """The clock of one audit, shared by the subject and its copies: what it may take, and how far it has come."""

    def __init__(self, budget: Budget | None = None, watch: Watch | None = None) -> None:
        self.budget = budget or Budget()
        self._watch = watch
        self._told = -math.inf
        self.now = Progress(PREPARING, 0, 0, 0.0, math.inf)

    def begin(self, stage: str, remaining: int) -> None:
        """A stage begins; from here on about so many forward passes remain."""
        self._told = -math.inf
        self._tell(stage, 0, self.now.forwards + remaining, self.now.each)

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Around every forward pass.

        Raises:
            OutOfTime: the budget is spent.
        """
        started = time.monotonic()
        with self.budget.guarded():
            yield
        self._tell(self.now.stage, 1, self.now.expected, min(self.now.each, time.monotonic() - started))

    def _tell(self, stage: str, more: int, expected: int, each: float) -> None:
        forwards = self.now.forwards + more
        self.now = Progress(stage, forwards, max(expected, forwards), self.budget.used, each)
        if self._watch is not None and self.now.seconds - self._told >= INTERVAL:
            self._told = self.now.seconds
            self._watch(self.now)
