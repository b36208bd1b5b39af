"""Texts that the tables of a survey share."""

from __future__ import annotations

import re
from collections import Counter

from audits.report.render.escape import markdown
from audits.report.render.marks import Mark, audit_mark
from audits.survey.reviews import Status
from audits.survey.rows import LEAK, PASS, Code, Row, Survey

NOT_REVIEWED = "not reviewed"
_PAGE_OF_A_FINDING = re.compile(r"docs/findings/([\w-]+)\.md")
_TONES: dict[str, str] = {Status.DEFECT: "fail", Status.FIXED: "fail", NOT_REVIEWED: "error"}


def title(survey: Survey) -> str:
    """The library and its release."""
    return f"Survey of {survey.library} {survey.release}"


def kind(row: Row) -> Mark:
    """The verdict with what the review says of it: "LEAK: defect", "LEAK: not reviewed", "PASS"."""
    status = row.review.status if row.review else NOT_REVIEWED
    return audit_mark(row.verdict) if row.verdict == PASS or status == Status.NOT_BUILT else _kind(row.verdict, status)


def _kind(verdict: str, status: str) -> Mark:
    mark = audit_mark(verdict)
    return Mark(mark.symbol, f"{mark.word}: {status}", _TONES.get(status, "neutral"))


def tally(survey: Survey) -> dict[Mark, int]:
    """How many rows are of each kind; of leaks the defects, those by design and those not reviewed are always named."""
    always = [_kind(LEAK, status) for status in (Status.DEFECT, Status.BY_DESIGN, NOT_REVIEWED)]
    counts = Counter(map(kind, survey.in_reading_order))
    return {mark: counts[mark] for mark in (*always, *(mark for mark in counts if mark not in always))}


def tally_sentence(survey: Survey) -> str:
    """How many of each kind, in one sentence."""
    parts, kinds = [], tally(survey)
    for verdict, number in survey.tally.items():
        start = f"{audit_mark(verdict).word}: "
        named = [f"{n} {kind.word.removeprefix(start)}" for kind, n in kinds.items() if n and start in kind.word]
        parts += [f"{number} {start[:-2]}" + (f" ({', '.join(named)})" if named else "")] if number else []
    return f"{len(survey.rows)} architectures and variants: {', '.join(parts)}."


def review_sentence(survey: Survey) -> str:
    """Whether everything that is not a PASS has been explained."""
    left = [row.name for row in survey.rows if not row.as_reviewed]
    explained = "Every verdict other than PASS has been examined and explained."
    return f"{len(left)} {NOT_REVIEWED} yet: {', '.join(left)}." if left else explained


def code_sentence(survey: Survey) -> str:
    """By which code the rows were made, as far as their records name it."""
    made = Counter(row.code for row in survey.rows)
    counts = "; ".join(f"{code}: {made[code]}" for code in Code)
    return f"Code that made the rows: {counts}" + (" (no hash of it on record)." if made[Code.UNKNOWN] else ".")


def linked(text: str) -> tuple[tuple[str, str], ...]:
    """A text in pieces, each with its address from `reports/survey`: empty but for the page of a finding."""
    pieces = _PAGE_OF_A_FINDING.split(text)
    return tuple(
        (piece, f"../../docs/findings/{piece}.md" if index % 2 else "") for index, piece in enumerate(pieces) if piece
    )


def linked_line(text: str) -> str:
    """A text as Markdown within a line, each page of a finding as a link."""
    return _PAGE_OF_A_FINDING.sub(r"[\1](../../docs/findings/\1.md)", markdown(text))
