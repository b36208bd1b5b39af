"""The table of a survey for a terminal, a diff and a code host."""

from __future__ import annotations

from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.marks import audit_mark
from audits.report.survey.prose import (
    HEADER,
    METHOD,
    code_sentence,
    fed_sentence,
    review_sentence,
    reviewed_text,
    tally_sentence,
    title,
)
from audits.survey.rows import Row, Survey


def survey_markdown(survey: Survey) -> str:
    """The whole document."""
    lines = [f"| {' | '.join(HEADER)} |", "| " + " | ".join(["---"] * len(HEADER)) + " |"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in survey.in_reading_order]
    method = "\n".join(f"- {text(sentence)}" for sentence in (*METHOD, fed_sentence(survey)))
    head = f"**{text(tally_sentence(survey))}** {text(review_sentence(survey))} {text(code_sentence(survey))}"
    return "\n\n".join((f"# {text(title(survey))}", head, "\n".join(lines), "## How", method)) + "\n"


def _cells(row: Row) -> list[str]:
    named = code(row.name) + f" {text(row.model)}"
    location = code(row.location) if row.location else ""
    cells = (", ".join(row.leak_classes), reviewed_text(row), row.code, row.reason)
    classes, reviewed, made_by, reason = map(text, cells)
    return [text(audit_mark(row.verdict).text), named, classes, location, reviewed, made_by, reason]
