"""The rows of a survey: the verdict on each architecture, by which code, and whether it has been reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from audits.evidence.ledger import Evidence, Record
from audits.survey.reviews import Review, review_of

PASS, LEAK, UNDETERMINED, NOT_BUILT = "PASS", "LEAK", "UNDETERMINED", "NOT_BUILT"
READING_ORDER = (LEAK, UNDETERMINED, NOT_BUILT, PASS)


class Code(StrEnum):
    """Which code made a record."""

    CURRENT = "current"
    EARLIER = "earlier"
    UNKNOWN = "unknown"


class Found(msgspec.Struct, frozen=True):
    """A finding of the audit: probes and class of leak, and the place of the library where a later token enters."""

    probe: str
    leak_class: str
    file: str | None = None
    line: int | None = None
    probes: tuple[str, ...] = ()


class Concluded(msgspec.Struct, frozen=True):
    """What one probe concluded."""

    name: str
    verdict: str
    why: str = ""
    applicable: bool = True


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One architecture of one release, as its run was recorded: findings, what each probe concluded, settings.

    `problem` is why there was no audit, or no end of it; None where there was. `review` is the reviewed explanation, if
    any. `counted` are the probes whose findings count; None for all.
    """

    name: str
    model: str
    seq_len: int
    verdict: str
    package: str = ""
    findings: tuple[Found, ...] = ()
    concluded: tuple[Concluded, ...] = msgspec.field(default=(), name="probes")
    settings: dict[str, Any] = {}
    problem: str | None = msgspec.field(default=None, name="reason")
    seconds: float = 0.0
    code: Code = Code.UNKNOWN
    review: Review | None = None
    counted: frozenset[str] | None = None

    @property
    def leak_classes(self) -> tuple[str, ...]:
        """Of the findings that count, each once."""
        counted, found = self.counted, self.findings
        counting = (f for f in found if counted is None or not counted.isdisjoint(f.probes or (f.probe,)))
        return tuple(dict.fromkeys(f.leak_class for f in counting))

    @property
    def leak_class(self) -> str | None:
        """Of the first finding."""
        return next(iter(self.leak_classes), None)

    @property
    def placed(self) -> Found | None:
        """The first finding that has a place."""
        return next((finding for finding in self.findings if finding.file), None)

    @property
    def location(self) -> str:
        """Its file and line, empty where none is known."""
        return f"{self.placed.file}:{self.placed.line}" if self.placed else ""

    @property
    def tried(self) -> frozenset[str]:
        """The names of all probes of the audit."""
        return frozenset(self.settings.get("probes", ()))

    @property
    def probes(self) -> dict[str, str]:
        """The verdict of each probe that applies."""
        return {probe.name: probe.verdict for probe in self.concluded if probe.applicable}

    @property
    def reason(self) -> str:
        """What the deciding probes reported, or why nothing could be; empty for a PASS."""
        if self.problem is not None or self.verdict == PASS:
            return self.problem or ""
        deciding = [probe for probe in self.concluded if probe.verdict == self.verdict and probe.applicable]
        return "; ".join(f"{probe.name}: {probe.why}" for probe in deciding)

    @property
    def as_reviewed(self) -> bool:
        """A PASS needs no review, everything else does."""
        return self.verdict == PASS or self.review is not None

    def judged_by(self, probes: frozenset[str]) -> Row:
        """The row as judged by some of the probes alone."""
        if not self.probes:
            return self
        verdicts = {verdict for probe, verdict in self.probes.items() if probe in probes}
        verdict = next((verdict for verdict in READING_ORDER if verdict in verdicts), self.verdict)
        return msgspec.structs.replace(self, verdict=verdict, counted=probes)


@dataclass(frozen=True)
class Survey:
    """One release of one library, its rows by name."""

    library: str
    release: str
    rows: tuple[Row, ...]

    @property
    def in_reading_order(self) -> tuple[Row, ...]:
        """What is not reviewed first, then by verdict and name."""
        return tuple(sorted(self.rows, key=lambda r: (r.as_reviewed, READING_ORDER.index(r.verdict), r.name)))

    @property
    def tally(self) -> dict[str, int]:
        """How many rows have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in READING_ORDER}


def surveys(evidence: Evidence, reviews: Iterable[Review], today: str) -> tuple[Survey, ...]:
    """Every release in the evidence; of an architecture surveyed several times the latest run counts.

    `today` is today's hash of the code behind the runs.
    """
    latest: dict[tuple[str, str], dict[str, Record]] = {}
    for record in evidence.records:
        config = record.config
        latest.setdefault((config["library"], config["release"]), {})[config["name"]] = record
    reviews = tuple(reviews)
    return tuple(
        Survey(library, release, tuple(_row(record, reviews, today) for _, record in sorted(records.items())))
        for (library, release), records in sorted(latest.items())
    )


def _row(record: Record, reviews: tuple[Review, ...], today: str) -> Row:
    config: dict[str, Any] = record.config
    code = Code.CURRENT if record.code == today else Code.EARLIER if record.code else Code.UNKNOWN
    known = {"seconds": record.seconds, "code": code}
    row = msgspec.convert(config | record.result | known, Row)
    release = row.package.partition("==")[2] or config["release"]
    review = review_of(reviews, config["library"], release, row.name, row.verdict, row.leak_classes)
    return msgspec.structs.replace(row, review=review)
