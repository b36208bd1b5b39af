"""Which files a report is made of; each is rendered before the first is written."""

from __future__ import annotations

import re
from pathlib import Path

from audits.claims.judged import Report
from audits.experiments.bench._measured import benches
from audits.report.bench import FOLDER as BENCH
from audits.report.bench import bench_document, bench_json
from audits.report.claims.index import index_html, readme, step_summary
from audits.report.claims.json import claims_json, page_json, page_path
from audits.report.claims.junit import junit
from audits.report.claims.kill_matrix import kill_document, leaks_json, peers_document
from audits.report.claims.page import claim_document
from audits.report.claims.schema import schema_files
from audits.report.write import append_text, remove_files, write_below

README = "README.md"  # the index, which code hosts show below the list of the files
PAGE_LIMIT = 1024 * 1024  # bytes that GitHub shows of one step's summary; a larger one is not shown at all


def report_texts(report: Report) -> dict[str, str]:
    """All files of the report, by path below its folder; a pure function of the report."""
    documents = [claim_document(report, item) for item in report.judged]
    documents += [kill_document(report), peers_document(report), bench_document(report)]
    texts = {
        README: readme(report),
        "claims.html": index_html(report),
        "claims.json": claims_json(report),
        "leaks.json": leaks_json(report),
        "junit.xml": junit(report),
        **schema_files(),
        **{f"{page_path(item.claim.id)}.json": page_json(report, item) for item in report.judged},
        **{f"{BENCH}/{bench.file}.json": bench_json(bench) for bench in benches(report.evidence)},
    }
    for document in documents:
        texts |= document.files
    return texts


def write_reports(report: Report, folder: Path) -> list[Path]:
    """All files of the report, in `folder`, which is made if absent; pages of claims that are gone are removed."""
    texts, old = report_texts(report), _pages(folder)
    written = write_below(folder, texts)
    remove_files(old - set(written))
    return written


def _pages(folder: Path) -> set[Path]:
    """What an earlier report wrote for its claims: it knows the claims that it lists, and nothing else is touched."""
    index = folder / "claims.json"
    if not index.is_file():
        return set()
    found = [folder / "claims.md"]
    for identity in re.findall(r'"id": "([a-z0-9-]+)"', index.read_text(encoding="utf-8", errors="replace")):
        page = folder / page_path(identity)
        found += [page.with_suffix(end) for end in (".md", ".html", ".json")]
        found += page.parent.glob(f"{identity}-*.svg")
    return set(found)


def append_summary(report: Report, path: Path) -> None:
    """Append the report to a job's summary page, as much of it as the page has room for."""
    already = path.stat().st_size if path.is_file() else 0
    append_text(path, step_summary(report, PAGE_LIMIT - already))
