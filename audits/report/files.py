"""Which files a report is made of; each is rendered before the first is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audits.claims.judged import Report
from audits.experiments.bench._measured import benches
from audits.report.bench.json import FOLDER as BENCH
from audits.report.bench.json import bench_json
from audits.report.claims.html import html
from audits.report.claims.json import claims_json
from audits.report.claims.junit import junit
from audits.report.claims.leaks_json import leaks_json
from audits.report.claims.markdown import LIMIT, markdown, step_summary
from audits.report.claims.schema import FILE_NAME, claims_schema_json
from audits.report.survey.json import survey_json
from audits.report.survey.pages import changes_html, changes_markdown, survey_html, survey_markdown
from audits.report.write import append_text, write_texts
from audits.survey.changes import Comparison
from audits.survey.rows import Survey

_RENDERERS = {
    "claims.md": markdown,
    "claims.html": html,
    "claims.json": claims_json,
    "leaks.json": leaks_json,
    "junit.xml": junit,
}
_SURVEY_RENDERERS = {"json": survey_json, "md": survey_markdown, "html": survey_html}
_CHANGES_RENDERERS = {"md": changes_markdown, "html": changes_html}


def write_reports(report: Report, folder: Path) -> list[Path]:
    """All files of the report, in `folder`, which is made if absent; raises ReportError as `write_texts`."""
    texts = {folder / name: render(report) for name, render in _RENDERERS.items()}
    texts[folder / FILE_NAME] = claims_schema_json()
    texts |= {folder / BENCH / f"{bench.file}.json": bench_json(bench) for bench in benches(report.evidence)}
    return write_texts(texts)


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """The tables of one release, in `folder`."""
    name = f"{survey.library}-{survey.release}"
    return write_texts({folder / f"{name}.{end}": render(survey) for end, render in _SURVEY_RENDERERS.items()})


def write_changes(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """What changed between surveyed releases, in `folder`; nothing where none can be compared."""
    texts = {f"changes.{end}": render(comparisons) for end, render in _CHANGES_RENDERERS.items() if comparisons}
    return write_texts({folder / name: text for name, text in texts.items()})


def append_summary(report: Report, path: Path) -> None:
    """Append the report to a job's summary page, as much of it as the page has room for."""
    append_text(path, "the summary", lambda already: step_summary(report, LIMIT - already))
