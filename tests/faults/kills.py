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
from typing import Any

import pytest

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Ledger
from audits.evidence.runner import gather
from audits.report.write import ReportError, write_text, write_texts

SEED = int(os.environ.get("FAULTS_SEED", "0"))
KILLS = int(60 * float(os.environ.get("FAULTS", "1")))
FILES = 8
RUNS = 200  # of two gatherings
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


def slow(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    for step in range(10):
        time.sleep(0.02)
        progress(step + 1, 10)
    return {"square": spec.seed**2}


def gather_all(folder: str) -> None:
    """What a process of the test below does."""
    demo = Experiment("demo", lambda options: tuple(RunSpec("demo", {}, seed) for seed in range(RUNS)), slow)
    gather([demo], Options(checkpoints=f"{folder}/checkpoints"), Ledger(Path(folder, "evidence")), workers=1)


def test_gatherings_that_are_killed_beside_each_other_record_every_run_once(tmp_path: Path) -> None:
    gen, kills = random.Random(SEED), max(1, KILLS // 6)
    paths = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[2])))
    asked = [sys.executable, "-c", "import sys, kills; kills.gather_all(sys.argv[1])", str(tmp_path)]
    quiet: Any = {"env": os.environ | {"PYTHONPATH": paths}, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = [subprocess.Popen(asked, **quiet) for _ in range(2)]
    for kill in range(kills):
        time.sleep(gen.uniform(1, 6))
        running[kill % 2].kill()
        running[kill % 2].wait()
        running[kill % 2] = subprocess.Popen(asked, **quiet)
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    lines = [json.loads(line) for line in (tmp_path / "evidence" / "demo.jsonl").read_text().splitlines()]
    assert sorted(line["seed"] for line in lines) == list(range(RUNS))
    assert not list((tmp_path / "checkpoints").glob("*"))
    print(f"{kills} kills of two gatherings: {RUNS} runs, each recorded once")  # noqa: T201


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
