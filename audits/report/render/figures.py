"""The figures that claims bring along: drawn, and as a table."""

from __future__ import annotations

from audits.claims.figures import Curves, Dots, Figure
from audits.formatting import Table
from audits.report.render.escape import markup
from audits.report.render.figure_curves import curves_plot, curves_table
from audits.report.render.figure_dots import dots_plot, dots_table, mean_word
from audits.report.render.page import folded, paragraph, table


def figure_plot(name: str, figure: Figure) -> str:
    """The figure as inline SVG, `name` unique on its page; empty text where there is nothing to draw."""
    return dots_plot(name, figure) if isinstance(figure, Dots) else curves_plot(name, figure)


def figure_table(figure: Figure) -> Table:
    """The numbers of the figure."""
    return dots_table(figure) if isinstance(figure, Dots) else curves_table(figure)


def figure_note(figure: Figure) -> str:
    """The note of its claim, then how to read the figure."""
    return " ".join(part for part in (figure.note, _reading(figure)) if part)


def _reading(figure: Figure) -> str:
    if isinstance(figure, Curves):
        bars = any(p.low is not None or p.high is not None for series in figure.series for p in series.points)
        return "Bars are intervals." if bars else ""
    joined = figure.joined and len(figure.columns) > 1
    return f"Each point is a run, the bar the {mean_word(figure).lower()}" + (
        "; a line joins the runs of one seed." if joined else "."
    )


def drawn(name: str, figure: Figure) -> str:
    """The drawing under its title, how to read it, and its numbers, which open on demand; `name` as above."""
    drawing, note = figure_plot(name, figure), figure_note(figure)
    shown = drawing or paragraph("No run has a value that could be drawn.", "soft")
    shown += paragraph(note, "soft small") if note and drawing else ""
    numbers = folded("The numbers", table(figure_table(figure)))
    return f'<figure class="chart"><figcaption><b>{markup(figure.title)}</b></figcaption>{shown}{numbers}</figure>'
