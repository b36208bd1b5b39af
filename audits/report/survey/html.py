"""The table of a survey as a self-contained page; a click on a heading sorts by it."""

from __future__ import annotations

from audits.report.render.escape import markup
from audits.report.render.marks import audit_mark
from audits.report.render.page import attention, bullets, page, paragraph, pill, section
from audits.report.render.words import REBUILT
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
    reviewed = review_sentence(survey)
    open_rows = any(not row.as_reviewed for row in survey.rows)
    head = "\n".join(
        (
            f"<h1>{markup(title(survey))}</h1>",
            paragraph(tally_sentence(survey), "story"),
            f"<p>{attention(reviewed)}</p>" if open_rows else paragraph(reviewed, "soft"),
            paragraph(code_sentence(survey), "soft"),
        )
    )
    body = (
        section("table", "Architectures", _table(survey)),
        section("how", "How", bullets((*METHOD, fed_sentence(survey)))),
    )
    return page(title(survey), head, "\n".join(body), REBUILT, _SORT, _STYLE, roomy=True)


def _table(survey: Survey) -> str:
    head = "".join(f'<th scope="col"><button type="button">{markup(name)}</button></th>' for name in HEADER)
    rows = "".join(_row(row) for row in survey.in_reading_order)
    caption = f"<caption>{markup(title(survey))}</caption>"
    grid = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide" tabindex="0" role="region" aria-label="{markup(title(survey))}">{grid}</div>'


def _row(row: Row) -> str:
    reviewed = reviewed_text(row)
    cells = (
        pill(audit_mark(row.verdict)),
        f"<b>{markup(row.name)}</b> {markup(row.model)}",
        markup(", ".join(row.leak_classes)),
        markup(row.location),
        markup(reviewed) if row.as_reviewed else attention(reviewed),
        markup(row.code),
        markup(row.reason),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
