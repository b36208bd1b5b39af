"""One traced forward pass of a subject, and what it says about every output position."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.taint_map import STAMP, times_of
from audits.instruments.tracing.tracer import Escape, Tracer, tracing
from audits.subject.outputs import as_sequence
from audits.subject.subject import Subject


@dataclass(frozen=True)
class Trace:
    """What one traced pass found.

    Attributes:
        latest: int64 [B, N], the latest label each output depends on; -1 where it depends on none.
        unknown: operations without a rule, taken to depend on all their inputs.
        assumptions: what was taken for granted, in words.
        escapes: values that left for Python.
        seconds: what it took.
    """

    latest: Tensor
    unknown: tuple[str, ...]
    assumptions: tuple[str, ...]
    escapes: tuple[Escape, ...]
    seconds: float

    def leaking(self) -> Tensor:
        """Where an output depends on a later position: bool [B, N]."""
        return self.latest > torch.arange(self.latest.shape[1])


def positions(inputs: Tensor) -> Tensor:
    """The usual labels: every token's position, [B, N]."""
    return torch.arange(inputs.shape[1]).expand(inputs.shape[0], -1)


def rows(inputs: Tensor) -> Tensor:
    """Labels for influence between rows: every token's row, [B, N]."""
    return torch.arange(inputs.shape[0])[:, None].expand(-1, inputs.shape[1])


def trace(subject: Subject, inputs: Tensor, labels: Tensor, *, training: bool = False, grouping: bool = False) -> Trace:
    """Run the subject once on inputs [B, N] or [B, N, D] whose tokens carry labels [B, N], at most 16381.

    `grouping`: take sorting by integer keys for grouping (see `rules_group`).
    """
    tracer = Tracer(subject.module, grouping=grouping)
    started = time.perf_counter()
    stamps = run(subject, tracer, inputs, labels, training=training)
    latest = torch.zeros(inputs.shape[:2], dtype=torch.int64)
    if stamps is not None:
        latest = times_of(stamps).reshape(*inputs.shape[:2], -1).amax(-1).long().cpu()
    return Trace(
        latest - 1,
        tuple(tracer.notes.unknown),
        tuple(tracer.notes.assumptions),
        tuple(tracer.escapes),
        time.perf_counter() - started,
    )


def run(
    subject: Subject,
    tracer: Tracer,
    inputs: Tensor,
    labels: Tensor,
    *,
    training: bool,
    keep: list[Tensor] | None = None,
) -> Tensor | None:
    """The output's stamps in its shape; None where it is constant. The output itself is appended to `keep`."""
    kept: list[Tensor | None] = []

    def traced(model: Any, given: Tensor) -> Any:
        output, stamps = through(tracer, lambda fed: as_sequence(subject.feed(model, fed), inputs), given, labels)
        kept.append(stamps)
        if keep is not None:
            keep.append(output)
        return output

    subject.call(traced, inputs, training=training)
    return kept[0]


def through(
    tracer: Tracer, function: Callable[[Tensor], Tensor], given: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The output of a function of [B, N, ...] and its stamps, where labels [B, N] are those of the input's tokens."""
    # A copy: the caller's tensor may be a view of something larger.
    fed = given.clone()
    stamps = (labels.to(fed.device) + 1).to(STAMP)
    tracer.shadows.write(fed, stamps.reshape(*stamps.shape, *[1] * (fed.ndim - stamps.ndim)).expand(fed.shape))
    with tracing(tracer):
        output = function(fed)
        return output, tracer.shadows.read(output)
