"""A figure of data on the page: drawing, how to read it, numbers."""

from __future__ import annotations

from audits.claims.figures import Figure
from audits.report.render.figures import figure_note, figure_plot, figure_table
from audits.report.render.page import chart


def drawn(name: str, content: Figure) -> str:
    """The figure with its numbers; `name` is unique on the page."""
    return chart(content.title, figure_plot(name, content), figure_note(content), figure_table(content))
