"""The table of a survey as a self-contained page; a click on a heading sorts by it."""

from __future__ import annotations

from audits.report.render.escape import markup
from audits.report.render.marks import audit_mark
from audits.report.render.page import attention, bullets, markup_table, page, paragraph, pill, section
from audits.report.render.words import REBUILT
from audits.report.survey import prose
from audits.survey.rows import Row, Survey

# Sorts the rows by the text of a column, the other way round at the second click; the page reads the same without it.
_SORT = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = heading.closest("table").tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    const text = (row) => row.cells[heading.cellIndex].textContent;
    const rows = [...body.rows].sort((a, b) => text(a).localeCompare(text(b)) * (down ? -1 : 1));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...rows);
  });
}
"""

_STYLE = """thead button { all: unset; cursor: pointer; }
thead button:focus-visible { outline: 2px solid currentColor; }
th[aria-sort="ascending"] button::after { content: " ▲"; }
th[aria-sort="descending"] button::after { content: " ▼"; }
"""


def survey_html(survey: Survey) -> str:
    """The whole page."""
    reviewed = prose.review_sentence(survey)
    open_rows = any(not row.as_reviewed for row in survey.rows)
    head = "\n".join(
        (
            f"<h1>{markup(prose.title(survey))}</h1>",
            paragraph(prose.tally_sentence(survey), "story"),
            f"<p>{attention(reviewed)}</p>" if open_rows else paragraph(reviewed, "soft"),
            paragraph(prose.code_sentence(survey), "soft"),
        )
    )
    body = (
        section("table", "Architectures", _table(survey)),
        section("how", "How", bullets((*prose.METHOD, prose.fed_sentence(survey)))),
    )
    return page(prose.title(survey), head, "\n".join(body), REBUILT, _SORT, _STYLE, roomy=True)


def _table(survey: Survey) -> str:
    head = [f'<button type="button">{markup(name)}</button>' for name in prose.HEADER]
    return markup_table(prose.title(survey), head, [_cells(row) for row in survey.in_reading_order])


def _cells(row: Row) -> tuple[str, ...]:
    reviewed = prose.reviewed_text(row)
    return (
        pill(audit_mark(row.verdict)),
        f"<b>{markup(row.name)}</b> {markup(prose.model_text(row))}",
        markup(", ".join(row.leak_classes)),
        markup(row.location),
        markup(reviewed) if row.as_reviewed else attention(reviewed),
        markup(row.code),
        markup(row.reason),
    )
