"""The rows of a survey: the verdict on each architecture, by which code, and whether it has been reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from audits.evidence.ledger import Evidence, Record
from audits.survey.reviews import Review, review_of

PASS, LEAK, UNDETERMINED, NOT_BUILT = "PASS", "LEAK", "UNDETERMINED", "NOT_BUILT"
READING_ORDER = (LEAK, UNDETERMINED, NOT_BUILT, PASS)


class Code(StrEnum):
    """Which code made a record."""

    CURRENT = "current"
    EARLIER = "earlier"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Row:
    """One architecture of one release.

    Attributes:
        name: its name in the library's registry.
        model: its class.
        verdict: PASS, LEAK, UNDETERMINED or NOT_BUILT.
        leak_class: of the first finding.
        leak_classes: of all findings.
        file: of the library, where a later token enters.
        line: in that file.
        reason: what was found, or why nothing could be.
        review: the reviewed explanation, None where there is none.
        probes: the verdict of each probe that applies.
        tried: the names of all probes of the audit.
        found: probe and class of each finding.
        seq_len: tokens of a sequence.
        seconds: duration of the run.
        code: whether today's code made the run, earlier code, or code that its record does not name.
    """

    name: str
    model: str
    verdict: str
    leak_class: str | None
    leak_classes: tuple[str, ...]
    file: str | None
    line: int | None
    reason: str
    review: Review | None
    probes: tuple[tuple[str, str], ...]
    tried: frozenset[str]
    found: tuple[tuple[str, str], ...]
    seq_len: int
    seconds: float
    code: Code

    @property
    def as_reviewed(self) -> bool:
        """A PASS needs no review, everything else does."""
        return self.verdict == PASS or self.review is not None

    def judged_by(self, probes: frozenset[str]) -> Row:
        """The row as judged by some of the probes alone."""
        if not self.probes:
            return self
        classes = tuple(dict.fromkeys(leak_class for probe, leak_class in self.found if probe in probes))
        verdicts = {verdict for probe, verdict in self.probes if probe in probes}
        verdict = next((v for v in READING_ORDER if v in verdicts), self.verdict)
        return replace(self, verdict=verdict, leak_class=next(iter(classes), None), leak_classes=classes)

    @property
    def location(self) -> str:
        """File and line, empty where no line is known."""
        return f"{self.file}:{self.line}" if self.file else ""


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

    def tally(self) -> dict[str, int]:
        """How many rows have each verdict."""
        return {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in READING_ORDER}


def surveys(evidence: Evidence, reviews: Iterable[Review], today: str) -> tuple[Survey, ...]:
    """Every release in the evidence; of an architecture surveyed several times the latest run counts.

    Args:
        evidence: the ledger of all surveys.
        reviews: explanations of verdicts.
        today: today's hash of the code behind the runs.
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


def _code(record: Record, today: str) -> Code:
    if not record.code:
        return Code.UNKNOWN
    return Code.CURRENT if record.code == today else Code.EARLIER


def _row(record: Record, reviews: tuple[Review, ...], today: str) -> Row:
    config, result = record.config, record.result
    findings: list[dict[str, Any]] = result.get("findings", [])
    located: dict[str, Any] = next((finding for finding in findings if finding["file"]), {})
    classes = tuple(dict.fromkeys(finding["leak_class"] for finding in findings))
    verdict = result["verdict"]
    return Row(
        name=config["name"],
        model=config["model"],
        verdict=verdict,
        leak_class=classes[0] if classes else None,
        leak_classes=classes,
        file=located.get("file"),
        line=located.get("line"),
        reason=_reason(result),
        review=review_of(reviews, config["library"], config["release"], config["name"], verdict, classes),
        tried=frozenset(result.get("settings", {}).get("probes", ())),
        found=tuple((finding["probe"], finding["leak_class"]) for finding in findings),
        probes=tuple((p["name"], p["verdict"]) for p in result.get("probes", []) if p["applicable"]),
        seq_len=config["seq_len"],
        seconds=record.seconds,
        code=_code(record, today),
    )


def _reason(result: dict[str, Any]) -> str:
    """What the deciding probes reported; empty for a PASS."""
    if "reason" in result:
        return str(result["reason"])
    if result["verdict"] == PASS:
        return ""
    deciding = [p for p in result["probes"] if p["verdict"] == result["verdict"] and p["applicable"]]
    return "; ".join(f"{p['name']}: {p['why']}" for p in deciding)
