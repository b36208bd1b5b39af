"""What all reports print to a terminal with; foreign text is never parsed for console markup."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from audits.formatting import Table as Cells
from audits.formatting import visible
from audits.report.render.marks import Mark

COLOURS = {"pass": "green", "fail": "red", "differs": "magenta", "neutral": "yellow", "error": "red"}


class _PlainConsole(Console):
    """A console to whose terminal no name, message or source line can send an escape sequence."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments whose text shows control characters; styles are added later."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def console(*, stderr: bool = False) -> Console:
    """What a command prints to."""
    return _PlainConsole(stderr=stderr)


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
