"""Claims, kill matrix and pages in a terminal; the caller decides on width and colour by the console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from audits.claims.claim import JudgedClaim, Kind
from audits.claims.judged import Report
from audits.claims.views import kill_matrix
from audits.formatting import Table, count
from audits.report.claims import prose
from audits.report.claims.kill_matrix import LEGEND, matrix_table
from audits.report.claims.marks import by_outcome, flags, outcome, tally_of
from audits.report.render.console import COLOURS, marked, printed
from audits.report.render.document import Document

_MOST_FLAGGED = 6  # claims that need attention, one a line; more are counted (our choice)


def print_claims(report: Report, console: Console, readme: Path, chosen: Sequence[JudgedClaim] = ()) -> None:
    """The results in brief: a line for each claim chosen by name, what needs attention, answer, tally and file."""
    for item in by_outcome(tuple(chosen)):
        text = f" {item.claim.id} ({item.scope}): {item.judgement.reason}"
        console.print(Text.assemble(marked(outcome(item)), text), soft_wrap=True)
    for item in report.unexpected[:_MOST_FLAGGED]:
        words = "; ".join(flag.word for flag in flags(item))
        console.print(Text(f"! {item.claim.id}: {words}", style=f"bold {COLOURS['fail']}"), soft_wrap=True)
    if len(report.unexpected) > _MOST_FLAGGED:
        console.print(Text(f"! and {count(len(report.unexpected) - _MOST_FLAGGED, 'more claim')}"))
    for sentence in (*prose.answer(report), prose.expectation_sentence(report)):
        console.print(Text(sentence))
    for line in filter(None, (tally_of(report, kind) for kind in Kind)):
        console.print(Text(line, style="bold"))
    console.print(f"report: {readme}", highlight=False, soft_wrap=True)


def print_kill_matrix(report: Report, console: Console) -> None:
    """The kill matrix: the leaky model, then its control; probes are numbered to fit a terminal."""
    matrix = kill_matrix(report)
    if not matrix.leaks:
        console.print(Text(prose.empty_note("Kill matrix")))
        return
    shown = matrix_table(matrix)
    numbers = [str(index) for index, _ in enumerate(matrix.probes, 1)]
    rows = tuple(row[1:] for row in shown.rows)
    console.print(printed(Table(shown.title, (*shown.header[1:3], *numbers), rows)))
    console.print(Text("Probes: " + "  ".join(f"{i} {probe}" for i, probe in enumerate(matrix.probes, 1))))
    console.print(Text(LEGEND, style="dim"))
    console.print(Text(prose.kill_sentence(matrix)))
    console.print(Text(prose.battery_sentence(matrix)))


def print_document(document: Document, console: Console, *, folded: bool = False) -> None:
    """A page without its pictures and, if not asked for, without what is folded away there; its lead comes last."""
    for section in document.sections:
        for sentence in filter(None, (section.heading, *section.text)):
            console.print(Text(sentence, style="bold" if sentence == section.heading else ""))
        for table in section.tables + (section.folded if folded else ()):
            console.print(printed(table))
    for sentence in document.lead:
        console.print(Text(sentence))
