"""Which layers a run has time and memory for; the others are recorded as not run, with the reason."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from audits.experiments.bench._layers import Entry
from audits.experiments.bench._steps import Step
from audits.experiments.bench._timing import Outlook, outlook, too_slow
from hubrouter.config import ConfigError

LONGEST = 160  # letters of a reason
UNROLLED = 8192  # tokens up to which a graph is compiled that grows with their number: minutes already
HASTE, UNROLLED_IN_HASTE = 60.0, 1024  # the same for a run with a smaller budget than so many seconds
PROFILED = 256  # tokens at which the memory of a loop over tokens is listed: gigabytes of events at a thousand
_FOLDERS = re.compile(r"(/[\w.+@-]+){2,}")  # others' messages may name places on this machine

Make = Callable[[Entry, int], Step]


@dataclass(frozen=True)
class Limits:
    """What a run may take.

    Attributes:
        step: seconds of one step.
        budget: seconds of all steps of a run together.
        memory: bytes of one step on a CPU, whose system would end the process; a GPU refuses by itself.
        rounds: steps that count, of each layer.
        compiles: whether there is time to compile layers.
    """

    step: float
    budget: float
    memory: float
    rounds: int
    compiles: bool


@dataclass(frozen=True)
class Admitted:
    """A layer's step with its peak in bytes, or why there is none; `predicted` seconds a step."""

    entry: Entry
    step: Step | None = None
    peak: int | None = None
    predicted: float | None = None
    not_run: str | None = None


class Admission:
    """Decides one layer after the other; the first ones cannot lose their time to those that come later.

    Args:
        limits: what the run may take.
        make: makes a layer's step at a length.
        n: the whole length.
        grows: whether a step's time grows with the length, so that short lengths predict it; else it is tried.
        clock: seconds.
    """

    def __init__(
        self, limits: Limits, make: Make, n: int, *, grows: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits, self.make, self.n, self.grows, self.clock = limits, make, n, grows, clock
        self.began, self.promised = clock(), 0.0

    def decide(self, entry: Entry) -> Admitted:
        """Whether the layer is timed; its first steps at the whole length, which count for nothing, are done here."""
        try:
            return self._tried(entry)
        except entry.refusals as refusal:
            return Admitted(entry, not_run=reason(refusal))

    def _tried(self, entry: Entry) -> Admitted:
        if self._left() <= 0:  # to try alone may compile for minutes
            return Admitted(entry, not_run=f"nothing is left of the run's {self.limits.budget:g} s")
        expected = self._foreseen(entry)
        predicted = expected.predicted or 0.0
        why = expected.not_run or self._no_time(predicted) or self._no_memory(entry)
        if why is not None:
            return Admitted(entry, predicted=expected.predicted, not_run=why)
        step = self.make(entry, self.n)
        peak = round(self._least(entry)) if entry.by_token and self.grows else step.peak()
        self.promised += predicted * (self.limits.rounds + 1)
        return Admitted(entry, step, peak, predicted)

    def _foreseen(self, entry: Entry) -> Outlook:
        if self.grows and not entry.compiled:
            return outlook(lambda length: self.make(entry, length).seconds(), self.n, self.limits.step)
        step = self.make(entry, self.n)
        if entry.compiled and not self.limits.compiles:
            return Outlook(None, "compiling it takes longer than this tier has")
        longest = UNROLLED if self.limits.budget >= HASTE else UNROLLED_IN_HASTE
        if entry.unrolled and self.grows and self.n > longest:
            return Outlook(None, f"its graph grows with the length and is not compiled beyond {longest} tokens")
        step.seconds()  # warms up or compiles, and does not count
        taken = step.seconds()
        return too_slow(taken, self.limits.step) if taken > self.limits.step else Outlook(taken)

    def _left(self) -> float:
        """Seconds of the budget that are neither over nor promised."""
        return self.limits.budget - (self.clock() - self.began) - self.promised

    def _no_time(self, predicted: float) -> str | None:
        """Whether the rounds that are promised already leave too little time for those of one more layer."""
        left, asked = self._left(), predicted * (self.limits.rounds + 2)
        if asked <= left:
            return None
        return f"predicted {asked:.3g} s in all, and {max(0.0, left):.3g} s of the run's {self.limits.budget:g} s left"

    def _no_memory(self, entry: Entry) -> str | None:
        """Whether the peak, which grows at least linearly, would be too high; others have run already."""
        if entry.compiled or not self.grows:
            return None
        least = self._least(entry)
        if least <= self.limits.memory:
            return None
        return f"predicted {least / 1e9:.3g} GB at its peak, more than {self.limits.memory / 1e9:g} GB"

    def _least(self, entry: Entry) -> float:
        """Bytes at the whole length if they grow linearly, from a short one."""
        short = max(1, min(self.n // 4, PROFILED) if entry.by_token else self.n // 4)
        return self.make(entry, short).peak() * (self.n / short)


def reason(refusal: Exception) -> str:
    """A refusal in one line, without anything that names a place on this machine; our own ones name no type."""
    first = next(iter(str(refusal).strip().splitlines()), "")
    kind = type(refusal).__name__
    text = first if first and isinstance(refusal, ConfigError) else f"{kind}: {first}" if first else kind
    return _FOLDERS.sub("...", text)[:LONGEST]
