"""The one module of the report that touches the file system: whole files or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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


class ReportError(Exception):
    """A report cannot be written; the message is one line that says where, why and how to mend it."""


def write_reports(report: Report, folder: Path) -> list[Path]:
    """Render every file of the report, then write all of them into `folder`, which is made if absent.

    Raises:
        ReportError: The folder or a file cannot be written. Files that were there before are then whole, old or new.
    """
    texts = {folder / name: render(report) for name, render in _RENDERERS.items()}
    texts[folder / FILE_NAME] = claims_schema_json()
    texts |= {folder / BENCH / f"{bench.machine}.json": bench_json(bench) for bench in benches(report.evidence)}
    _write(texts)
    return list(texts)


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """Write the tables of one release into `folder`; as `write_reports`."""
    name = f"{survey.library}-{survey.release}"
    texts = {folder / f"{name}.{ending}": render(survey) for ending, render in _SURVEY_RENDERERS.items()}
    _write(texts)
    return list(texts)


def write_changes(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write what changed between surveyed releases into `folder`, nothing where none can be compared."""
    if not comparisons:
        return []
    texts = {folder / "changes.md": changes_markdown(comparisons), folder / "changes.html": changes_html(comparisons)}
    _write(texts)
    return list(texts)


def append_summary(report: Report, path: Path) -> None:
    """Append the report to a job's summary page, as much of it as the page has room for.

    Raises:
        ReportError: the file cannot be written.
    """
    try:
        already = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(step_summary(report, LIMIT - already))
    except OSError as error:
        raise ReportError(f"cannot append the summary to {path}: {error.strerror or type(error).__name__}") from error


def write_text(path: Path, text: str) -> None:
    """Write one file whole, or raise ReportError and leave what was there."""
    _write({path: text})


def check_writable(path: Path) -> None:
    """Before the work: raise ReportError where a file could not be written; makes and changes nothing."""
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is there already, and is no ordinary file")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(None, f"{folder} is no folder that you may write to")
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}; choose another place") from error


def _write(texts: Mapping[Path, str]) -> None:
    """Write everything beside its place first; only when all of it lies on the disk is it renamed."""
    beside = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in texts}
    path = next(iter(texts))
    try:
        for path, text in texts.items():
            if path.is_dir():
                raise IsADirectoryError(None, "a folder has this name", str(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(beside[path], text)
        for path in texts:
            beside[path].replace(path)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ReportError(f"cannot write {path}: {why}; free the disk or choose a folder you may write to") from error
    finally:
        _remove(beside)


def _write_whole(path: Path, text: str) -> None:
    """Write and force to the disk, where a full one shows."""
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _remove(beside: Mapping[Path, Path]) -> None:
    """Remove what was not renamed; a disk that refuses even that has been reported already."""
    for path in beside.values():
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue
