"""The writing of the report: whole files or none."""

from __future__ import annotations

import argparse
import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import audits.report.write
from audits.claims.claim import Claim, ClaimVerdict, JudgedClaim, Judgement
from audits.claims.judged import Report
from audits.cli.claims import write_everything
from audits.evidence.ledger import Evidence
from audits.formatting import file_name
from audits.report.claims.index import readme, step_summary
from audits.report.files import PAGE_LIMIT, append_summary, report_texts, write_reports
from audits.report.write import ReportError, append_text, check_writable, write_below, write_text, write_texts

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


@pytest.mark.parametrize("index", [b'{"claims": [{"id": "../mine"}]}', b"[]", b"no json \xff"])
def test_beside_what_is_no_index_of_claims_no_page_is_removed(tmp_path, index):
    (tmp_path / "claims").mkdir()
    for kept in ("mine.md", "claims/mine.md"):
        (tmp_path / kept).touch()
    (tmp_path / "claims.json").write_bytes(index)
    write_reports(sample(), tmp_path)
    assert {name for name in files(tmp_path) if "mine" in name} == {"mine.md", "claims/mine.md"}


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


def test_what_is_no_regular_file_is_refused_and_stays(tmp_path):
    pipe, device_link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    device_link.symlink_to("/dev/null")
    for path in (pipe, Path("/dev/null"), device_link):
        for write in (check_writable, lambda path: write_text(path, "text"), lambda path: append_text(path, "text")):
            with pytest.raises(ReportError):
                write(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert device_link.is_symlink()


def test_links_are_followed_and_stay_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "audit.json").write_text("old")
    (tmp_path / "real" / "audit.json").chmod(0o640)
    (tmp_path / "folder").symlink_to("real", target_is_directory=True)
    (tmp_path / "link.json").symlink_to("folder/audit.json")
    write_text(tmp_path / "link.json", "new")
    (tmp_path / "dangling").symlink_to("real/made")
    write_text(tmp_path / "dangling", "made")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "folder").is_symlink()
    assert (tmp_path / "real" / "audit.json").read_text() == "new"
    assert (tmp_path / "real" / "audit.json").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "real" / "made").read_text() == "made"


def test_of_two_names_of_one_file_the_last_text_counts_and_no_temporary_file_stays(tmp_path):
    (tmp_path / "link.json").symlink_to("audit.json")
    write_texts({tmp_path / "audit.json": "first", tmp_path / "link.json": "last"})
    assert (tmp_path / "audit.json").read_text() == "last"
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "link.json"}


def test_links_in_a_circle_are_one_line(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(ReportError, match="cannot write"):
            write_text(path, "text")


def test_an_open_descriptor_is_written_through_also_by_a_link(tmp_path):
    reading, writing = os.pipe()
    (tmp_path / "link").symlink_to(f"/proc/self/fd/{writing}")
    write_text(Path(f"/dev/fd/{writing}"), "one ")
    write_text(tmp_path / "link", "two")
    os.close(writing)
    assert os.read(reading, 99) == b"one two"
    os.close(reading)
    assert (tmp_path / "link").is_symlink()


def test_a_link_put_where_the_temporary_file_would_be_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(audits.report.write.secrets, "token_hex", lambda _: "ab")
    host = audits.report.write._HOST
    (tmp_path / f".hubrouter-audit-{host}-{os.getpid()}-ab.tmp").symlink_to("victim")
    with pytest.raises(ReportError, match="File exists"):
        write_text(tmp_path / "audit.json", "text")
    assert not (tmp_path / "victim").exists()


def test_temporary_files_of_dead_processes_are_removed_and_others_stay(tmp_path):
    host = audits.report.write._HOST
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = tmp_path / f".hubrouter-audit-{host}-{int(dead.stdout)}-abcd.tmp"
    alive, elsewhere = (
        left.with_name(f".hubrouter-audit-{host}-{os.getppid()}-abcd.tmp"),
        left.with_name(f".hubrouter-audit-00000000-{int(dead.stdout)}-abcd.tmp"),
    )
    for path in (left, alive, elsewhere):
        path.touch()
    write_text(tmp_path / "audit.json", "text")
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", alive.name, elsewhere.name}


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "bench/../../escaped"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    with pytest.raises(ReportError, match="lies outside"):
        write_below(tmp_path / "reports", {name: "text"})
    assert not list(tmp_path.iterdir())


def test_a_name_from_a_record_becomes_the_name_of_a_file():
    assert file_name("../../escaped/\x1b[1m") == "-..-escaped---1m"
    assert file_name("..") == "-"
    assert file_name("cpu-8_cores+x.1") == "cpu-8_cores+x.1"
