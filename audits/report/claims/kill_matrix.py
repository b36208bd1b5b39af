"""The kill matrix: every planted leak against every probe, with its clean control in the same cell."""

from __future__ import annotations

from audits.claims.judged import Report
from audits.claims.views import KillMatrix, KillRow, kill_matrix
from audits.formatting import Table
from audits.report.claims import prose, tables
from audits.report.render.document import Document, Section

_LEAKY = {"LEAK": "●", "PASS": "·", "UNDETERMINED": "?"}
_CLEAN = {"PASS": "✓", "LEAK": "!", "UNDETERMINED": "?"}
_NOT_RUN = "-"
LEGEND = (
    "Each cell: the leaky model (● leak seen, · not seen), then its clean control (✓ passes, ! false alarm). "
    "Either: ? undetermined, - does not apply or not run."
)


def kill_document(report: Report) -> Document:
    """The page."""
    matrix, title = kill_matrix(report), "Kill matrix: the auditor audited"
    if not matrix.leaks:
        return Document("kill-matrix", title, (tables.empty_note("Kill matrix"),), ())
    origins = Table("Planted leaks", ("leak", "what happens", "where it happened"), _origins(matrix))
    sections = (
        Section("Every leak against every probe", (LEGEND,), matrix=matrix_table(matrix)),
        Section("The fewest probes that see them all", (prose.battery_sentence(matrix),)),
        Section("Where the leaks come from", folded=(origins,)),
    )
    return Document("kill-matrix", title, (prose.kill_sentence(matrix),), sections)


def matrix_table(matrix: KillMatrix) -> Table:
    """The matrix in symbols, leaks by class, and how many each probe sees."""
    rows = [(leak.leak_class, leak.name, named_text(leak), *cells(matrix, leak)) for leak in matrix.leaks]
    seen = (str(len(matrix.kills[probe])) for probe in matrix.probes)
    total = ("", f"leaks seen, of {len(matrix.leaks)}", "", *seen)
    return Table("Kill matrix", ("class", "planted leak", "class named", *matrix.probes), (*rows, total))


def cells(matrix: KillMatrix, leak: KillRow) -> tuple[str, ...]:
    """One leak against every probe: two symbols each."""
    return tuple(
        f"{_LEAKY.get(leak.leaky.get(probe, ''), _NOT_RUN)} {_CLEAN.get(leak.clean.get(probe, ''), _NOT_RUN)}"
        for probe in matrix.probes
    )


def named_text(leak: KillRow) -> str:
    """Whether the auditor named the right class: "✓ dense", "✗ dense, not selection", "✗ missed"."""
    if leak.named == leak.leak_class:
        return f"✓ {leak.named}"
    return f"✗ {leak.named}, not {leak.leak_class}" if leak.named else "✗ missed"


def _origins(matrix: KillMatrix) -> tuple[tuple[str, ...], ...]:
    return tuple((leak.name, leak.mechanism, leak.origin) for leak in matrix.leaks)
