"""The index of all claims: README.md for code hosts, and claims.html with filters."""

from __future__ import annotations

from typing import Any

from audits.claims.judged import Report
from audits.claims.views import kill_matrix
from audits.report.claims import marks, prose
from audits.report.claims.json import page_path
from audits.report.render.templates import page


def readme(report: Report) -> str:
    """The index as Markdown, its links relative to the folder of the reports."""
    return page("claims.md", **_values(report))


def index_html(report: Report) -> str:
    """The index as a page that can be filtered."""
    return page("claims.html", script="claims.js", **_values(report))


def _values(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "traits": [prose.traits(item) for group in prose.groups(report) for item in group.claims],
        "kill": prose.kill_sentence(kill_matrix(report)),
        "marks": marks,
        "prose": prose,
        "page_path": page_path,
    }
