"""The parts a Markdown document is made of; text given to a function is escaped here, cells of a grid are not."""

from __future__ import annotations

from collections.abc import Sequence

from audits.formatting import Table
from audits.report.render.escape import markdown as text


def bullets(sentences: Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"- {text(sentence)}" for sentence in sentences)


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def table(content: Table) -> str:
    """A titled table."""
    rows = [[text(cell) for cell in row] for row in content.rows]
    return f"**{text(content.title)}**\n\n{grid([text(cell) for cell in content.header], rows)}"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names with values that are Markdown already; a pair whose value is empty is left out."""
    return "\n".join(f"- **{name}.** {value}" for name, value in pairs if value)
