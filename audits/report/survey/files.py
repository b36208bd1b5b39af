"""Which files a survey is made of: pages, Markdown for a terminal and a code host, JSON for programs (contract)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audits.formatting import file_name
from audits.jsonable import fields, json_text
from audits.report.render.templates import page
from audits.report.survey import prose
from audits.report.write import write_below
from audits.results import SCHEMA
from audits.survey.changes import Comparison
from audits.survey.fixups import WINDOW
from audits.survey.rows import Survey

# What the JSON holds of a row; `leak_class` is that of the first finding, `file` and `line` where the leak enters.
_FIELDS = {
    "name": "name", "model": "model", "package": "package", "verdict": "verdict", "leak_class": "leak_class",
    "file": "placed.file", "line": "placed.line", "reason": "reason", "as_reviewed": "as_reviewed",
    "explained": "review.reason", "status": "review.status", "leak_classes": "leak_classes", "probes": "probes",
    "seq_len": "seq_len", "seconds": "seconds", "code": "code",
}  # fmt: skip


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """The tables of one release, in `folder`."""
    name = file_name(f"{survey.library}-{survey.release}")
    return write_below(folder, {f"{name}.{end}": text for end, text in survey_texts(survey).items()})


def write_changes(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """What changed between surveyed releases, in `folder`; nothing where none can be compared."""
    texts = changes_texts(comparisons) if comparisons else {}
    return write_below(folder, {f"changes.{end}": text for end, text in texts.items()})


def _pages(name: str, **values: Any) -> dict[str, str]:
    """A page that is sorted and filtered, and the same as Markdown."""
    scripts = {"html": "survey.js", "md": ""}
    return {end: page(f"{name}.{end}", script=script, prose=prose, **values) for end, script in scripts.items()}


def survey_texts(survey: Survey) -> dict[str, str]:
    """One release by the kind of file: the pages, and the rows as JSON."""
    document = {"schema": SCHEMA, "library": survey.library, "release": survey.release, "tally": survey.tally}
    rows = [fields(row, _FIELDS) | {"seconds": round(row.seconds, 1)} for row in survey.rows]
    return _pages("survey", survey=survey, window=WINDOW) | {"json": json_text(document | {"models": rows})}


def changes_texts(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """What changed, a part for each library, by the kind of file."""
    return _pages("changes", comparisons=comparisons)
