"""The index of all claims: README.md for code hosts, claims.html with filters, and the summary of a job."""

from __future__ import annotations

from typing import Any

from audits.claims.claim import Kind
from audits.claims.judged import Report
from audits.claims.views import kill_matrix
from audits.report.claims import marks, prose
from audits.report.claims.json import page_path
from audits.report.render.templates import page

SUMMARY_LIMIT = 65_536  # characters of a comment on a pull request; a job's summary may be longer


def readme(report: Report) -> str:
    """The index as Markdown, its links relative to the folder of the reports."""
    return page("claims.md", linked=True, whole=True, **_values(report))


def index_html(report: Report) -> str:
    """The index as a page that can be filtered."""
    return page("claims.html", script="claims.js", **_values(report))


def step_summary(report: Report, room: int = SUMMARY_LIMIT) -> str:
    """The longest form of the index that fits into the bytes that are left on the page."""
    forms = (page("claims.md", linked=False, whole=whole, **_values(report)) for whole in (True, False))
    return next((text for text in forms if len(text.encode()) <= min(room, SUMMARY_LIMIT)), "")


def _values(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "traits": [prose.traits(item) for group in prose.groups(report) for item in group.claims],
        "tallies": [text for kind in Kind if (text := marks.tally_of(report, kind))],
        "kill": prose.kill_sentence(kill_matrix(report)),
        "marks": marks,
        "prose": prose,
        "page_path": page_path,
    }
