"""The tables of a survey, and of what changed between surveyed releases, as Markdown and as self-contained pages."""

from __future__ import annotations

from collections.abc import Sequence

from audits.report.render.templates import page
from audits.report.survey import prose
from audits.survey.changes import Comparison
from audits.survey.fixups import WINDOW
from audits.survey.rows import Survey

_SCRIPT = "survey.js"


def survey_html(survey: Survey) -> str:
    """The page of one release: sorted by a click on a heading, filtered by kind and words."""
    return page("survey.html", script=_SCRIPT, survey=survey, prose=prose, window=WINDOW)


def survey_markdown(survey: Survey) -> str:
    """The document of one release, for a terminal, a diff and a code host."""
    return page("survey.md", survey=survey, prose=prose, window=WINDOW)


def changes_html(comparisons: Sequence[Comparison]) -> str:
    """The page of what changed, a section for each library."""
    return page("changes.html", script=_SCRIPT, comparisons=comparisons, prose=prose)


def changes_markdown(comparisons: Sequence[Comparison]) -> str:
    """The document of what changed, a part for each library."""
    return page("changes.md", comparisons=comparisons, prose=prose)
