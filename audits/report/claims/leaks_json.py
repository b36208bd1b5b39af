"""leaks.json: the kill matrix for other programs, versioned."""

from __future__ import annotations

import msgspec

from audits.claims.judged import Report
from audits.claims.tool._battery import Battery
from audits.claims.views import LeakVerdicts, kill_matrix
from audits.jsonable import json_text
from audits.results import SCHEMA


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The planted leaks by name, and the fewest probes that see every one."""

    schema: int
    twins: tuple[LeakVerdicts, ...]
    battery: Battery


def leaks_json(report: Report) -> str:
    """The document as text, probes by name."""
    matrix = kill_matrix(report)
    leaks = sorted(matrix.leaks, key=lambda leak: leak.name)
    rows = tuple(msgspec.convert(leak, LeakVerdicts, from_attributes=True) for leak in leaks)
    return json_text(msgspec.to_builtins(Document(SCHEMA, rows, matrix.battery)))
