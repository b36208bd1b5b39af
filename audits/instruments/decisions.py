"""Decisions that Python takes by values it reads: can they reach an output earlier than the token they depend on?

A read is answered with another value, on the same input: an output that changes before the read's latest token depends
on the decision, unless no input takes it otherwise. Inputs are then searched that do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from audits.instruments.noise_floor import max_abs_diff, rounding, scale_of
from audits.instruments.source_lines import Frame, user_frame
from audits.instruments.tracing.rules import SILENT, plan
from audits.instruments.tracing.tracer import Escape
from audits.subject.operations import DispatchMode
from audits.subject.subject import Subject

OCCURRENCES = 3  # of the reads at one line, answered otherwise
CONSTANTS = 8  # of a function, near which a number that it reads is put
EXTREMES = {int: (-1, 0, 1, 1000), float: (0.0, -1e30, 1e30)}  # a size may be read: no larger integers


class Recorded(DispatchMode):
    """A call on inputs [1, N, ...]: outputs [1, N, F], operations, and what Python reads at which line.

    The read of this number, if any, is answered with another value.
    """

    def __init__(self, subject: Subject, inputs: Tensor, number: int = -1, value: object = None) -> None:
        super().__init__()
        self.number, self.value = number, value
        self.reads: list[tuple[Frame | None, Any]] = []
        self.names: list[str] = []
        with subject.under(lambda: self):
            self.outputs = subject.run(inputs)

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operation, or answer the read."""
        todo = plan(func)
        if not todo.reads or todo.name in SILENT:
            self.names.append(todo.name)
            return func(*args, **kwargs)
        value = self.value if len(self.reads) == self.number else func(*args, **kwargs)
        self.reads.append((user_frame(), value))
        return value

    def decides_otherwise(self, other: Recorded, frame: Frame | None) -> bool:
        """Whether the reads at a line differ, and with them a decision: a truth value, or what is computed."""
        one, two = ([v for f, v in each.reads if f == frame] for each in (self, other))
        truth = any(isinstance(value, bool) for value in one + two)
        return one != two and (truth or self.names != other.names)


def reaching(subject: Subject, base: Tensor, reads: Sequence[Escape]) -> list[Escape]:
    """One read for each line where a decision reaches an output earlier than the latest token that it depends on."""
    usual = Recorded(subject, base)
    floor = max(subject.noise or 0.0, rounding(subject, scale_of(usual.outputs)))

    def reaches(read: Escape) -> bool:
        known = usual.reads[read.number : read.number + 1]
        if not known or known[0][0] != read.frame:
            return True  # the traced pass took another way: nothing can be said
        return any(
            float(max_abs_diff(usual.outputs, outputs)[:, : read.latest].max()) > floor
            for outputs in _otherwise(subject, base, read, known[0][1])
        )

    lines: dict[Frame | None, list[Escape]] = {}
    for read in reads:
        if read.latest:
            lines.setdefault(read.frame, []).append(read)
    tried = ([at[n] for n in {*torch.linspace(0, len(at) - 1, OCCURRENCES).long().tolist()}] for at in lines.values())
    return [found for some in tried if (found := next((read for read in some if reaches(read)), None)) is not None]


def _otherwise(subject: Subject, base: Tensor, read: Escape, value: Any) -> Iterator[Tensor]:
    """The outputs with other answers to one read; an answer that makes the model raise gives none."""
    for other in _alternatives(value, read.constants):
        try:
            yield Recorded(subject, base, read.number, other).outputs
        except Exception:  # noqa: S112 - a decision to raise, as of an assertion, makes no output
            continue


def _alternatives(value: Any, constants: Sequence[int | float]) -> list[Any]:
    """Other values: the opposite, or numbers on every side of the constants that it may be compared with."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return [not value] if isinstance(value, bool) else []
    near = [type(value)(c + step) for c in (value, *constants[:CONSTANTS]) for step in (-1, 0, 1)]
    return [n for n in dict.fromkeys((*near, *EXTREMES[type(value)])) if n != value]
