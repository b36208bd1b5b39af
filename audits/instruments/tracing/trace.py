"""One traced forward pass of a subject, and the latest token that every output position depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.taint_map import LABEL_DTYPE, unflagged
from audits.instruments.tracing.tracer import Escape, Tracer, tracing
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Trace:
    """What one traced pass found.

    Attributes:
        latest: int64 [B, N], the latest source each output depends on; -1 where it depends on none.
        unknown: operations without a rule, assumed to depend on all their inputs.
        assumptions: what was assumed, in words.
        escapes: values that left for Python.
        compared: numbers that integers which depend on tokens are compared with, in the order of the pass.
        choices: operations that rank or compare what depends on tokens, or whose result is as long as it says.
    """

    latest: Tensor
    unknown: tuple[str, ...]
    assumptions: tuple[str, ...]
    escapes: tuple[Escape, ...]
    compared: tuple[int | float, ...]
    choices: tuple[str, ...]

    def leaking(self) -> Tensor:
        """Where an output depends on a later position: bool [B, N]."""
        return self.latest > torch.arange(self.latest.shape[1])

    @property
    def is_complete(self) -> bool:
        """Whether it shows every way that a token can take to an output, and none of them leads to an earlier one."""
        doubts = (self.unknown, self.assumptions, self.choices, [e for e in self.escapes if e.latest])
        return int(self.latest.max()) >= 0 and not any(doubts) and not bool(self.leaking().any())


def traced(subject: Subject, *, training: bool = False) -> Trace:
    """What a pass on the base input finds; the subject remembers it."""

    def find() -> Trace:
        base = subject.base()
        return trace(subject, base, positions(base), training=training)

    return subject.once(("trace", training), find)


def positions(inputs: Tensor) -> Tensor:
    """The usual sources: every token's position, [B, N]."""
    return torch.arange(inputs.shape[1]).expand(inputs.shape[0], -1)


def trace(
    subject: Subject, inputs: Tensor, sources: Tensor, *, training: bool = False, grouping: bool = False
) -> Trace:
    """Run the subject once on inputs [B, N] or [B, N, D] whose tokens have the source numbers [B, N], at most 16381.

    `grouping`: assume that tokens sorted by integer keys interact within their own group (see `rules_group`).
    """
    tracer = Tracer(subject.module, grouping=grouping)
    _, labels = trace_outputs(subject, tracer, inputs, sources, training=training)
    latest = torch.zeros(inputs.shape[:2], dtype=torch.int64)
    if labels is not None:
        latest = unflagged(labels).reshape(*inputs.shape[:2], -1).amax(-1).long().cpu()
    notes = tracer.notes
    return Trace(
        latest - 1,
        tuple(notes.unknown),
        tuple(notes.assumptions),
        tuple(tracer.escapes),
        tuple(tracer.compared),
        tuple(tracer.choices),
    )


def trace_outputs(
    subject: Subject, tracer: Tracer, inputs: Tensor, sources: Tensor, *, training: bool
) -> tuple[Tensor, Tensor | None]:
    """The outputs [B, N, F] of a pass under the tracer and their labels; None where they are constant."""
    kept: list[tuple[Tensor, Tensor | None]] = []

    def traced(model: Any, given: Tensor) -> Tensor:
        kept.append(
            trace_function(tracer, lambda x: subject.sequence(subject.convention(model, x), inputs), given, sources)
        )
        return kept[0][0]

    subject.call(traced, inputs, training=training)
    return kept[0]


def trace_function(
    tracer: Tracer, function: Callable[[Tensor], Tensor], given: Tensor, sources: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The output of a function of [B, N, ...] and its labels, where sources [B, N] are those of the input's tokens."""
    # A copy: the caller's tensor may be a view of something larger.
    inputs = given.clone()
    labels = (sources.to(inputs.device) + 1).to(LABEL_DTYPE)
    labels = labels.reshape(*labels.shape, *[1] * (inputs.ndim - labels.ndim)).expand(inputs.shape)
    tracer.start(inputs, labels)
    with tracing(tracer):
        output = function(inputs)
        return output, tracer.labels_of(output)
