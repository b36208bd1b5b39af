"""A badge of one audit, in the schema of shields.io's endpoint: a label, a message and a colour."""

from __future__ import annotations

from audits.jsonable import json_text
from audits.results import AuditResult, Verdict

_VERSION = 1  # of the endpoint's schema
_COLOURS = {Verdict.PASS: "brightgreen", Verdict.LEAK: "red", Verdict.UNDETERMINED: "yellow"}


def badge(result: AuditResult) -> str:
    """The document; a leak is named by its classes, in the order of the findings."""
    classes = ", ".join(dict.fromkeys(str(finding.leak_class) for finding in result.findings))
    message = f"{result.verdict}: {classes}" if classes else str(result.verdict)
    colour = _COLOURS[result.verdict]
    return json_text({"schemaVersion": _VERSION, "label": "causality", "message": message, "color": colour})
