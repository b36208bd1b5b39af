"""survey/<library>-<release>.json: the rows for other programs, versioned (contract)."""

from __future__ import annotations

from audits.jsonable import json_text
from audits.results import SCHEMA
from audits.survey.rows import Row, Survey


def survey_json(survey: Survey) -> str:
    """The document, rows by name."""
    head = {"schema": SCHEMA, "library": survey.library, "release": survey.release, "tally": survey.tally()}
    return json_text({**head, "models": [_entry(row) for row in survey.rows]})


def _entry(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "model": row.model,
        "verdict": row.verdict,
        "leak_class": row.leak_class,
        "file": row.file,
        "line": row.line,
        "reason": row.reason,
        "as_reviewed": row.as_reviewed,
        "explained": row.review.reason if row.review else None,
        "leak_classes": list(row.leak_classes),
        "probes": dict(row.probes),
        "seq_len": row.seq_len,
        "seconds": round(row.seconds, 1),
        "code": row.code,
    }
