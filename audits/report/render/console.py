"""What all reports print to a terminal with; foreign text is never parsed for console markup."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from audits.formatting import Table as Cells
from audits.report.render.marks import Mark

COLOURS = {"pass": "green", "fail": "red", "differs": "magenta", "neutral": "yellow", "error": "red"}


def marked(mark: Mark) -> Text:
    """A mark in its colour."""
    return Text(mark.text, style=f"bold {COLOURS[mark.tone]}")


def printed(content: Cells) -> Table:
    """A titled table."""
    grid = Table(title=Text(content.title), title_justify="left")
    for heading in content.header:
        grid.add_column(heading, overflow="fold", min_width=0 if grid.columns else 18)
    for row in content.rows:
        grid.add_row(*map(Text, row))
    return grid
