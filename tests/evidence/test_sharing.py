"""Several gatherings on one ledger: each run is executed once, whatever becomes of the process that began it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import audits.evidence.runner
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Ledger, LedgerError
from audits.evidence.run_locks import FILE_NAME, RunLocks
from audits.evidence.runner import gather

HERE = Path(__file__).resolve()
RUNS = 6
HOLDER = """
import sys
from pathlib import Path
from audits.evidence.run_locks import RunLocks
locks = RunLocks(Path(sys.argv[1]))
for line in sys.stdin:
    word, run = line.split()
    print(locks.take(run) if word == "take" else locks.release(run), flush=True)
"""


def noted(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Notes that it was begun, goes on when it may, and fails where its gathering is told that it does."""
    folder = Path(spec.config["folder"])
    with (folder / f"begun-{spec.seed}").open("a") as log:
        log.write("x")
    while spec.seed == 0 and not (folder / "go").exists():
        progress(1, 2)
        time.sleep(0.05)
    if (folder / f"fails-{spec.seed}").exists():
        (folder / f"fails-{spec.seed}").unlink()
        raise RuntimeError("not this time")
    return {"seed": spec.seed}


def gathered(folder: Path, workers: int = 1, fresh: bool = False) -> str:
    """Gather all runs; what was printed."""
    runs = tuple(RunSpec("demo", {"folder": str(folder)}, seed) for seed in range(RUNS))
    text, options = io.StringIO(), Options(checkpoints=str(folder / "checkpoints"))
    demo = Experiment("demo", lambda options: runs, noted)
    console = Console(file=text, width=100)
    found = gather([demo], options, Ledger(folder / "evidence"), workers=workers, fresh=fresh, console=console)
    assert {record.result["seed"] for record in found.evidence.records} == set(range(RUNS)), text.getvalue()
    return text.getvalue()


def in_process(folder: str, fresh: str = "") -> None:
    """What another process does."""
    sys.stdout.write(gathered(Path(folder), fresh=bool(fresh)))


@contextmanager
def other_gathering(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A gathering in a process of its own, which has begun the run that waits."""
    code = "import sys, test_sharing; test_sharing.in_process(*sys.argv[1:])"
    paths = os.pathsep.join((str(HERE.parent), str(HERE.parents[2])))
    environment = os.environ | {"PYTHONPATH": paths}
    asked = [sys.executable, "-c", code, str(folder), *words]
    with subprocess.Popen(asked, env=environment, stdout=subprocess.PIPE, text=True) as other:
        try:
            while not begun(folder)[0]:
                assert other.poll() is None
                time.sleep(0.02)
            yield other
        finally:
            other.kill()


def begun(folder: Path) -> list[int]:
    """How often each run was begun."""
    logs = [folder / f"begun-{seed}" for seed in range(RUNS)]
    return [len(log.read_text()) if log.exists() else 0 for log in logs]


@pytest.mark.parametrize("fresh", ["", "fresh"])
def test_two_gatherings_share_the_runs_and_wait_for_each_other(
    fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits.evidence.runner, "LOOK_SECONDS", 0.2)
    with other_gathering(tmp_path, fresh) as other:
        say = Console.print

        def and_let_it_go(console: Console, line: str, **settings: Any) -> None:
            say(console, line, **settings)
            if "waiting" in line:
                (tmp_path / "go").touch()

        monkeypatch.setattr(Console, "print", and_let_it_go)
        text = gathered(tmp_path, fresh=bool(fresh))
        out, _ = other.communicate(timeout=60)
        assert other.returncode == 0
    assert begun(tmp_path) == [1] * RUNS
    assert "1 runs are executed by another gathering; waiting for them" in text
    assert text.count("done by another gathering") == 1
    assert out.count("done by another gathering") == RUNS - 1
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_the_run_of_a_killed_gathering_is_taken_over_at_once(tmp_path: Path) -> None:
    with other_gathering(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        (tmp_path / "go").touch()
        assert "another" not in gathered(tmp_path)
    assert begun(tmp_path) == [2, *[1] * (RUNS - 1)]


def test_what_failed_elsewhere_is_tried_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits.evidence.runner, "LOOK_SECONDS", 0.2)
    (tmp_path / "fails-0").touch()
    with other_gathering(tmp_path):
        (tmp_path / "go").touch()
        gathered(tmp_path)
    assert begun(tmp_path)[0] == 2


class Holder:
    """A process that takes and releases locks as it is told."""

    def __init__(self, folder: Path) -> None:
        asked = [sys.executable, "-c", HOLDER, str(folder)]
        environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])}
        self.process = subprocess.Popen(
            asked, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str, run: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word} {run}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Sequence[Holder]]:
    found = [Holder(tmp_path) for _ in range(2)]
    yield found
    for holder in found:
        holder.kill()


def test_a_run_is_locked_by_one_process_till_it_releases_it_or_ends(holders: Sequence[Holder]) -> None:
    one, other = holders
    first, second = "0123456789abcdef", "f" * 16
    assert one.ask("take", first) == one.ask("take", first) == "True"
    assert other.ask("take", first) == "False"
    assert other.ask("take", second) == "True"
    one.ask("release", first)
    assert other.ask("take", first) == "True"
    other.kill()
    assert one.ask("take", first) == one.ask("take", second) == "True"


def test_a_folder_without_room_for_locks_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(LedgerError, match="cannot be opened: Is a directory"):
        RunLocks(tmp_path)
