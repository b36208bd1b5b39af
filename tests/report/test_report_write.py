"""The writing of the report: whole files or none."""

from __future__ import annotations

import argparse
import errno
import os
import re
from pathlib import Path

import pytest

import audits.report.write
from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim, Judgement
from audits.claims.judged import Report
from audits.cli.claims import write_everything
from audits.evidence.ledger import Evidence
from audits.report.claims.index import readme, step_summary
from audits.report.files import PAGE_LIMIT, append_summary, report_texts, write_reports
from audits.report.write import ReportError, write_text

FILES = {
    "README.md", "bench.html", "bench.md", "claim.schema.json", "claims.html", "claims.json", "claims.schema.json",
    "claims/cost.html", "claims/cost.json", "claims/cost.md", "junit.xml", "kill-matrix.html", "kill-matrix.md",
    "leaks.json", "peers.html", "peers.md",
}  # fmt: skip


def sample(identity="cost"):
    claim = Claim(identity, "statement", "a paper", "the test", "the refutation", lambda _: None)
    judgement = Judgement(ClaimVerdict.SUPPORTED, "reason", "more seeds")
    return Report((JudgedClaim(claim, "quick", judgement, ClaimVerdict.SUPPORTED),), Evidence())


def files(folder):
    """The files below a folder with their bytes, by path within it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_writing_leaves_the_files_of_the_report_and_nothing_else(tmp_path):
    paths = write_reports(sample(), tmp_path / "new")
    assert {path.relative_to(tmp_path / "new").as_posix() for path in paths} == FILES
    assert set(files(tmp_path / "new")) == FILES == set(report_texts(sample()))
    assert (tmp_path / "new" / "README.md").read_text(encoding="utf-8") == readme(sample())


def test_pages_of_claims_that_are_gone_are_removed_and_nothing_that_the_report_did_not_write(tmp_path):
    write_reports(sample(), tmp_path)
    (tmp_path / "claims" / "cost-1.svg").touch()
    for kept in ("mine.md", "claims/mine.md", "claims/costly.md", "evidence/cost.jsonl"):
        (tmp_path / kept).parent.mkdir(exist_ok=True)
        (tmp_path / kept).touch()
    write_reports(sample("other"), tmp_path)
    found = {name for name in files(tmp_path) if "cost" in name or "mine" in name}
    assert found == {"mine.md", "claims/mine.md", "claims/costly.md", "evidence/cost.jsonl"}
    assert (tmp_path / "claims" / "other.md").exists()


def test_a_full_disk_is_one_line_and_leaves_the_old_report_whole(tmp_path, monkeypatch):
    write_reports(sample(), tmp_path)
    old = files(tmp_path)
    calls = iter(range(9))

    def full(_):
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError) as caught:
        write_reports(sample("other"), tmp_path)
    assert "claims.json: No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == old


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ReportError, match="cannot write"):
        write_reports(sample(), tmp_path / "file" / "reports")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_a_file_stops_the_writing_before_anything_is_replaced(tmp_path):
    (tmp_path / "junit.xml").mkdir()
    with pytest.raises(ReportError, match=r"junit\.xml: a folder has this name"):
        write_reports(sample(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_only_one_module_of_the_report_writes_files():
    folder = Path(audits.report.write.__file__).parent
    writers = {
        p.name for p in folder.rglob("*.py") if re.search(r"\.write\(|write_text\(|\.open\(|os\.replace", p.read_text())
    }
    assert writers == {"write.py"}


def test_a_text_with_a_character_no_encoding_has_is_still_written(tmp_path):
    write_text(tmp_path / "new" / "audit.json", '"\udc80 \u00b1"')
    assert (tmp_path / "new" / "audit.json").read_text(encoding="utf-8") == '"\\udc80 \u00b1"'
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["audit.json"]


def test_the_summary_is_appended_to_what_a_job_wrote_before(tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    append_summary(sample(), path)
    assert path.read_text(encoding="utf-8") == "before\n" + step_summary(sample())


def test_a_summary_never_grows_over_what_the_page_shows(tmp_path):
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (PAGE_LIMIT - 3000))
    append_summary(sample(), path)
    assert PAGE_LIMIT - 3000 < path.stat().st_size <= PAGE_LIMIT
    path.write_bytes(b"x" * (PAGE_LIMIT + 5))
    append_summary(sample(), path)
    assert path.stat().st_size == PAGE_LIMIT + 5


def test_a_summary_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(ReportError, match="cannot append to") as caught:
        append_summary(sample(), tmp_path)
    assert "\n" not in str(caught.value)


def test_on_github_a_command_writes_the_summary_too_and_elsewhere_it_does_not(tmp_path, monkeypatch):
    options = argparse.Namespace(reports=str(tmp_path / "reports"), page=None)
    write_everything(sample(), options)
    assert [path.name for path in tmp_path.iterdir()] == ["reports"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    write_everything(sample(), options)
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == step_summary(sample())
