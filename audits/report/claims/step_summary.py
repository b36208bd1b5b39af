"""The report for a job's summary page, which holds a mebibyte: the whole of it, else less, each time whole parts."""

from __future__ import annotations

from audits.report.claims.document import Report
from audits.report.claims.markdown import head, joined, markdown
from audits.report.claims.markdown_claims import summary
from audits.report.claims.marks import claim_mark
from audits.report.render.escape import code
from audits.report.render.escape import markdown as text
from audits.report.render.markdown_parts import grid

LIMIT = 1024 * 1024  # bytes that GitHub shows of one step's summary; a larger one is not shown at all
_SHORTER = "The whole report is in `claims.md` and `claims.html` among the reports; it is too long for this page."


def step_summary(report: Report, room: int = LIMIT) -> str:
    """The longest form that fits.

    Args:
        report: what is told.
        room: bytes that are left on the page.
    """
    forms = (markdown, _table, _verdicts)
    fitting = (told for told in (form(report) for form in forms) if len(told.encode()) <= room)
    return next(fitting, "")


def _table(report: Report) -> str:
    """The outcome and a row a claim."""
    return joined([*head(report), _SHORTER, summary(report).replace("](#", "](claims.md#")])


def _verdicts(report: Report) -> str:
    """The outcome and each claim's verdict, without reasons."""
    rows = [[code(item.claim.id), text(claim_mark(item.judgement.verdict).text)] for item in report.in_reading_order]
    return joined([*head(report)[:3], _SHORTER, grid(["claim", "verdict"], rows)])
