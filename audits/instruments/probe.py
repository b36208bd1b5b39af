"""What a probe is: an independent check that examines a subject in one way and reports what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from audits.results import Site, TraceStep, Verdict
from audits.subject.subject import ExtraKwargs, Subject


@dataclass(frozen=True)
class Pair:
    """Two inputs that agree before `cut`: a causal model's outputs agree there too. Each [1, N] or [1, N, D].

    Of several rows [R, N, ...] it is the outputs of `row` that must agree, wherever the other rows differ. With packed
    documents (`extra_kwargs` gives the model their boundaries), it is the outputs of another document than
    the changed one that must agree: those from `compared[0]` to before `compared[1]`.
    """

    base: Tensor
    changed: Tensor
    cut: int
    training: bool = False
    extra_kwargs: ExtraKwargs | None = None
    compared: tuple[int, int] | None = None
    row: int = 0

    @property
    def must_agree(self) -> tuple[int, int]:
        """First position and end of the outputs that must agree."""
        return self.compared or (0, self.cut)


@dataclass(frozen=True)
class Violation:
    """One effect that causality forbids; `pair` is the evidence where a pair of inputs shows it.

    `op`, `file` and `line` say where it enters, and `trace` how it got from there to the output, for probes that find
    that out. `seen_in` is the copy in which it was seen, where that is not the subject as it came: one in another
    dtype, or with its all-zero weights reinitialised. `changed` says what changed at the sink. `document` is the first
    position and end of a document that differs from itself alone, and the arguments that mark it. `calls` are an input
    whose repetition gives other outputs, and those called in between.
    """

    source: Site
    sink: Site
    effect: float
    noise_floor: float
    pair: Pair | None = None
    op: str | None = None
    file: str | None = None
    line: int | None = None
    trace: tuple[TraceStep, ...] = ()
    seen_in: Subject | None = None
    changed: str = "the output"
    document: tuple[int, int, ExtraKwargs] | None = None
    calls: tuple[Tensor, ...] = ()

    def described(self, subject: Subject) -> str:
        """What was changed in a subject and what changed by it, in words."""
        source = self.source if self.source.position is None else subject.input_at(self.source.position)
        sink = subject.output_at(self.sink.position)
        return f"changing {source} changes {self.changed} at {sink} by {self.effect:.3g}"


@dataclass(frozen=True)
class Report:
    """A probe's conclusion.

    `applicable` is False where the subject offers nothing to examine (it cannot stream, for example);
    `control_failed` where no output reacted to any change, so that nothing was tested.
    """

    verdict: Verdict
    why: str
    violations: tuple[Violation, ...] = ()
    applicable: bool = True
    control_failed: bool = False


@dataclass(frozen=True)
class Judged:
    """An effect that causality forbids, and what was decided about it."""

    verdict: Verdict
    violation: Violation

    @property
    def leaks(self) -> bool:
        """Whether it is a leak."""
        return self.verdict is Verdict.LEAK

    def having(self, **attributes: Any) -> Judged:
        """The same with other attributes of the violation."""
        return replace(self, violation=replace(self.violation, **attributes))

    def report(self, leak: str, otherwise: str, doubt: str = "") -> Report:
        """The report of a probe whose conclusion this is: why it leaks, passes, or (as it passes) is undetermined."""
        if self.leaks:
            return Report(Verdict.LEAK, leak, (self.violation,))
        return Report(self.verdict, (doubt if self.verdict is Verdict.UNDETERMINED else "") or otherwise)


def batches(subject: Subject, rows: int) -> int:
    """How many forward passes so many rows take."""
    return -(-rows // subject.rows())


@dataclass(frozen=True)
class Probe:
    """A check: its name on the command line, what it looks at, and the function that does it.

    `order` is its place among the probes: what says most about how a leak enters comes first. `blind_to` says what it
    cannot detect, and why; it is printed with the planted leaks that it missed. `forwards` says about how many forward
    passes it makes on a subject without a leak: the cheapest probe runs first, and a budget is shared by them. What a
    probe looks at `at_any_length` shows on a short sequence too.
    """

    name: str
    looks_at: str
    order: int
    run: Callable[[Subject], Report]
    blind_to: str
    forwards: Callable[[Subject], int] = lambda _: 8
    at_any_length: bool = True


def not_applicable(why: str) -> Report:
    """The report of a probe that has nothing to examine; it neither passes nor fails the subject."""
    return Report(Verdict.UNDETERMINED, f"not applicable: {why}", applicable=False)


def undetermined(why: str) -> Report:
    """The report of a probe that could not decide."""
    return Report(Verdict.UNDETERMINED, why)


def failed_control(why: str) -> Report:
    """The report of a probe whose positive control failed."""
    return Report(Verdict.UNDETERMINED, f"positive control failed: {why}", control_failed=True)
