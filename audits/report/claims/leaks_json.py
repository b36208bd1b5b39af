"""leaks.json: the kill matrix for other programs, versioned."""

from __future__ import annotations

from dataclasses import asdict

from audits.jsonable import json_text
from audits.report.claims.document import Report
from audits.report.claims.views import kill_matrix
from audits.results import SCHEMA


def leaks_json(report: Report) -> str:
    """The document, twins by name, probes by name, and the fewest probes that see every leak."""
    matrix = kill_matrix(report)
    twins = sorted(matrix.twins, key=lambda twin: twin.name)
    rows = [
        {
            "name": twin.name,
            "leak_class": twin.leak_class,
            "named": twin.named,
            "mechanism": twin.mechanism,
            "origin": twin.origin,
            "leaky": dict(twin.leaky),
            "clean": dict(twin.clean),
        }
        for twin in twins
    ]
    return json_text({"schema": SCHEMA, "twins": rows, "battery": asdict(matrix.battery)})
