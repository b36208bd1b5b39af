"""The auditor audited: the kill matrix as a page and as leaks.json, and the comparison with another checker."""

from __future__ import annotations

import msgspec

from audits.claims.judged import Report
from audits.claims.tool import _peers as peers
from audits.claims.views import KillMatrix, KillRow, LeakVerdicts, kill_matrix
from audits.formatting import Table
from audits.jsonable import json_text
from audits.report.claims import prose
from audits.report.render.document import Document, Section
from audits.report.render.words import TIMING_NOTE
from audits.results import SCHEMA

_LEAKY = {"LEAK": "●", "PASS": "·", "UNDETERMINED": "?"}
_CLEAN = {"PASS": "✓", "LEAK": "!", "UNDETERMINED": "?"}
LEGEND = (
    "Each cell: the leaky model (● leak seen, · not seen), then its clean control (✓ passes, ! false alarm). "
    "Either: ? undetermined, - does not apply or not run."
)


def kill_document(report: Report) -> Document:
    """The page."""
    matrix, title = kill_matrix(report), "Kill matrix: the auditor audited"
    if not matrix.leaks:
        return Document("kill-matrix", title, (prose.empty_note("Kill matrix"),), ())
    found = tuple((leak.name, leak.mechanism, leak.origin) for leak in matrix.leaks)
    origins = Table("Planted leaks", ("leak", "what happens", "where it happened"), found)
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
    both = ((leak.leaky.get(probe, ""), leak.clean.get(probe, "")) for probe in matrix.probes)
    return tuple(f"{_LEAKY.get(leaky, '-')} {_CLEAN.get(clean, '-')}" for leaky, clean in both)


def named_text(leak: KillRow) -> str:
    """Whether the auditor named the right class: "✓ dense", "✗ dense, not selection", "✗ missed"."""
    if leak.named == leak.leak_class:
        return f"✓ {leak.named}"
    return f"✗ {leak.named}, not {leak.leak_class}" if leak.named else "✗ missed"


def leaks_json(report: Report) -> str:
    """leaks.json: the planted leaks by name with all verdicts, and the fewest probes that see every one; versioned."""
    matrix = kill_matrix(report)
    leaks = sorted(matrix.leaks, key=lambda leak: leak.name)
    rows = [{name: getattr(leak, name) for name in LeakVerdicts.__struct_fields__} for leak in leaks]
    return json_text({"schema": SCHEMA, "twins": rows, "battery": msgspec.to_builtins(matrix.battery)})


def peers_document(report: Report) -> Document:
    """What each of two checkers finds of the same models, and the time of both."""
    found = peers.peers(report)
    if found is None:
        return Document("peers", peers.HEADING, (peers.NOT_RUN,), ())
    seen = Section("What each finds", tables=(peers.class_table(found),), folded=(peers.leak_table(found),))
    timed = Section("Time of both", (TIMING_NOTE,), tables=(peers.time_table(found),))
    return Document("peers", peers.HEADING, (peers.sentence(found),), (seen, timed) if found.timings else (seen,))
