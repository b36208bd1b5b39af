"""Which files the reports consist of, and what renders each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audits.experiments.bench._measured import benches
from audits.report.bench.json import FOLDER as BENCH
from audits.report.bench.json import bench_json
from audits.report.claims.document import Report
from audits.report.claims.html import html
from audits.report.claims.json import claims_json
from audits.report.claims.junit import junit
from audits.report.claims.leaks_json import leaks_json
from audits.report.claims.markdown import markdown
from audits.report.claims.schema import FILE_NAME, claims_schema_json
from audits.report.claims.step_summary import LIMIT, step_summary
from audits.report.survey.changes import changes_html, changes_markdown
from audits.report.survey.html import survey_html
from audits.report.survey.json import survey_json
from audits.report.survey.markdown import survey_markdown
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


def write_reports(report: Report, folder: Path) -> list[Path]:
    """Render every file of the report, then write all of them into `folder`, which is made if absent.

    Raises:
        ReportError: The folder or a file cannot be written. Files that were there before are then whole, old or new.
    """
    texts = {folder / name: render(report) for name, render in _RENDERERS.items()}
    texts[folder / FILE_NAME] = claims_schema_json()
    texts |= {folder / BENCH / f"{bench.machine}.json": bench_json(bench) for bench in benches(report.evidence)}
    write_texts(texts)
    return list(texts)


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """Write the tables of one release into `folder`; as `write_reports`."""
    name = f"{survey.library}-{survey.release}"
    texts = {folder / f"{name}.{ending}": render(survey) for ending, render in _SURVEY_RENDERERS.items()}
    write_texts(texts)
    return list(texts)


def write_changes(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write what changed between surveyed releases into `folder`, nothing where none can be compared."""
    if not comparisons:
        return []
    texts = {folder / "changes.md": changes_markdown(comparisons), folder / "changes.html": changes_html(comparisons)}
    write_texts(texts)
    return list(texts)


def append_summary(report: Report, path: Path) -> None:
    """Append the report to a job's summary page, as much of it as the page has room for.

    Raises:
        ReportError: the file cannot be written.
    """
    append_text(path, "the summary", lambda already: step_summary(report, LIMIT - already))
