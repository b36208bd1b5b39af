"""The table of a survey for a terminal, a diff and a code host."""

from __future__ import annotations

from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.markdown_parts import bullets, grid
from audits.report.render.marks import audit_mark
from audits.report.survey import prose
from audits.survey.rows import Row, Survey


def survey_markdown(survey: Survey) -> str:
    """The whole document."""
    sentences = (prose.review_sentence(survey), prose.code_sentence(survey))
    parts = (
        f"# {text(prose.title(survey))}",
        " ".join((f"**{text(prose.tally_sentence(survey))}**", *map(text, sentences))),
        grid(prose.HEADER, [_cells(row) for row in survey.in_reading_order]),
        "## How",
        bullets((*prose.METHOD, prose.fed_sentence(survey))),
    )
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> list[str]:
    named = code(row.name) + f" {text(prose.model_text(row))}"
    location = code(row.location) if row.location else ""
    cells = (", ".join(row.leak_classes), prose.reviewed_text(row), row.code, row.reason)
    classes, reviewed, made_by, reason = map(text, cells)
    return [text(audit_mark(row.verdict).text), named, classes, location, reviewed, made_by, reason]
