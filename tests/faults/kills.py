"""Processes that write are killed at random moments, disks run full: files are whole, old or new, without litter."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audits.report.write import ReportError, write_text, write_texts

SEED = int(os.environ.get("FAULTS_SEED", "0"))
KILLS = int(60 * float(os.environ.get("FAULTS", "1")))
FILES = 8
WRITER = """
import itertools, json, sys
from pathlib import Path
from audits.report.write import write_texts
folder = Path(sys.argv[1])
print("begun", flush=True)
for n in itertools.count():
    write_texts({folder / f"{i}.json": json.dumps({"n": n, "x": "x" * 200_000}) for i in range(8)})
"""
AUDIT = [sys.executable, "-m", "audits", "model", "audits.leaks.hub_selection_in_chunk:leaky"]
AUDIT += ["--seq-len", "8", "--probes", "perturbation"]


def whole(folder: Path) -> int:
    """How many files there are; each can be read."""
    files = list(folder.glob("*.json"))
    for file in files:
        assert len(json.loads(file.read_text())["x"]) == 200_000
    return len(files)


def test_a_writer_that_is_killed_leaves_whole_files_and_the_next_removes_its_litter(tmp_path: Path) -> None:
    gen, litter = random.Random(SEED), 0
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(gen.uniform(0, 0.1))
            writer.send_signal(signal.SIGKILL)
        litter += len(list(tmp_path.glob(".hubrouter-audit-*")))
        assert whole(tmp_path) in (0, *range(1, FILES + 1))
        write_text(tmp_path / "other.txt", "text")
        assert not list(tmp_path.glob(".hubrouter-audit-*"))
    print(f"{KILLS} kills of a writer: every file whole, {litter} temporary files left and removed")  # noqa: T201
    assert litter


@pytest.mark.parametrize("isolate", [[], ["--isolate"]])
def test_an_audit_that_is_killed_leaves_no_file_or_a_whole_one(tmp_path: Path, isolate: list[str]) -> None:
    gen, document = random.Random(SEED), tmp_path / "audit.json"
    for _ in range(max(1, KILLS // 10)):
        asked = [*AUDIT, *isolate, "--json", str(document)]
        with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as audit:
            time.sleep(gen.uniform(0.1, 8))
            audit.kill()
        if document.exists():
            assert json.loads(document.read_text())["schema"] == 1
            document.unlink()


def test_a_limit_of_the_system_at_every_size_leaves_the_old_files(tmp_path: Path) -> None:
    old = {tmp_path / f"{i}.txt": "old" * i for i in range(4)}
    write_texts(old)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for size in random.Random(SEED).sample(range(1, 5000), k=KILLS):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            with pytest.raises(ReportError, match="File too large"):
                write_texts(dict.fromkeys(old, "new" * 2000))
            assert {path: path.read_text() for path in old} == old
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in old}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_leaves_the_old_files(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        write_text(tmp_path / "a.txt", "old")
        with pytest.raises(ReportError, match="No space left"):
            write_texts({tmp_path / "a.txt": "new", tmp_path / "b.txt": "x" * 200_000})
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
