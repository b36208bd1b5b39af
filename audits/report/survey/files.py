"""Which files a survey is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audits.report.survey.json import survey_json
from audits.report.survey.pages import changes_html, changes_markdown, survey_html, survey_markdown
from audits.report.write import write_texts
from audits.survey.changes import Comparison
from audits.survey.rows import Survey

_SURVEY = {"json": survey_json, "md": survey_markdown, "html": survey_html}
_CHANGES = {"md": changes_markdown, "html": changes_html}


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """The tables of one release, in `folder`."""
    name = f"{survey.library}-{survey.release}"
    return write_texts({folder / f"{name}.{end}": render(survey) for end, render in _SURVEY.items()})


def write_changes(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """What changed between surveyed releases, in `folder`; nothing where none can be compared."""
    texts = {f"changes.{end}": render(comparisons) for end, render in _CHANGES.items() if comparisons}
    return write_texts({folder / name: text for name, text in texts.items()})
