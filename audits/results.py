"""Types that every room uses: verdicts, leak classes, findings and results, all frozen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audits.jsonable import json_text

SCHEMA = 1
STRUCTURAL = "structural only"  # how a probe's reason begins where a flow exists that changes nothing
CALLERS_INPUT = "the caller's input"  # what a finding says has changed, where it is no output


class Verdict(StrEnum):
    """The verdict of a probe or an audit. Anything not run, blind or ambiguous is UNDETERMINED, never PASS."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    LEAK = "LEAK"
    UNDETERMINED = "UNDETERMINED"


class LeakClass(StrEnum):
    """How a leak enters (contract: `leak_class`)."""

    DENSE = "dense"
    SELECTION = "selection"
    STATISTIC = "statistic"
    LENGTH = "length"
    BATCH = "batch"
    STATE = "state"
    TRAINING_MODE = "training-mode"
    DECODE = "decode"
    DOCUMENT = "document"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Site:
    """A place in the input or output: 0-based position along the sequence and row of the batch."""

    position: int | None = None
    row: int | None = None

    def __str__(self) -> str:
        parts = [f"position {self.position}"] if self.position is not None else []
        return ", ".join(parts + ([f"row {self.row}"] if self.row is not None else []))


@dataclass(frozen=True)
class TraceStep:
    """One step on the way of a value: the operation, the source line that called it, the position of what it wrote."""

    op: str
    file: str | None = None
    line: int | None = None
    position: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else self.position
        return self.op if place is None else f"{self.op} {place}"


@dataclass(frozen=True)
class Finding:
    """One leak: the earlier output (`sink`), the later input it depends on (`source`), the effect, and where it enters.

    `effect` and `noise_floor` are in the units of the model's output (largest absolute difference). `probe` is the most
    telling that saw it, whose numbers these are; `probes` are all that did. `trace` leads from the input to the output.
    `changed` says what depends on it, where that is not the output that the model returns alone or first. Under a
    contract positions are slots: those of the input `argument` and of the output, and `clocks` says when each is
    available and due.
    """

    probe: str
    leak_class: LeakClass
    source: Site
    sink: Site
    effect: float
    noise_floor: float
    module: str | None = None
    op: str | None = None
    file: str | None = None
    line: int | None = None
    reproduce: str = ""
    changed: str = "the output"
    probes: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    argument: str = ""
    clocks: str = ""

    @property
    def seen_by(self) -> tuple[str, ...]:
        """All probes that saw it, the most telling first."""
        return self.probes or (self.probe,)


@dataclass(frozen=True)
class ProbeResult:
    """What one probe concluded, why, and what it cost."""

    name: str
    verdict: Verdict
    why: str
    forwards: int
    seconds: float
    applicable: bool = True


@dataclass(frozen=True)
class AuditResult:
    """The outcome of one audit; `to_json` is the contract's document, versioned."""

    target: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    probes: tuple[ProbeResult, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON-able values."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    def to_json(self) -> str:
        """The result as a JSON text; not-a-number and infinite effects are written as null and 1e308."""
        return json_text(self.to_dict())


class CausalityError(AssertionError):
    """An audit that did not pass, in words, and its `result`."""

    def __init__(self, message: str, result: AuditResult) -> None:
        super().__init__(message)
        self.result = result
