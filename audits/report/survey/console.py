"""The rows of a survey that need a reader, in a terminal."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console
from rich.table import Table
from rich.text import Text

from audits.report.render.console import marked
from audits.report.survey.prose import code_sentence, kind, review_sentence, tally_sentence, title
from audits.survey.rows import PASS, Survey


def print_survey(survey: Survey, names: Collection[str], console: Console) -> None:
    """The rows of these names that are not a PASS, then the tally of the whole survey."""
    table = Table(title=Text(title(survey)), title_justify="left")
    for heading in ("verdict", "architecture", "class of leak", "location", "review", "code"):
        table.add_column(heading, overflow="fold")
    for row in survey.in_reading_order:
        if row.name in names and row.verdict != PASS:
            why = row.review.reason if row.review else row.reason
            cells = (row.name, ", ".join(row.leak_classes), row.location, why, row.code)
            table.add_row(marked(kind(row)), *map(Text, cells))
    if table.row_count:
        console.print(table)
    console.print(Text(f"{tally_sentence(survey)} {review_sentence(survey)} {code_sentence(survey)}"), soft_wrap=True)
