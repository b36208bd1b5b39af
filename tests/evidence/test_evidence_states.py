"""Ledger and gathering against models in memory: whatever operations and kills follow each other, they agree."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from rich.console import Console

import audits.evidence.runner
from audits.evidence.code_hash import code_of
from audits.evidence.executors.executor import Began, Died, Event, Executor, Failed, Finished, Task
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Ledger, Record, run_hash
from audits.evidence.runner import gather

ROOT = Path(__file__).parents[2]
# A fifth of the examples of others; `nox -s faults` loads a profile of more.
SETTINGS = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=20, deadline=None)
HOLDER = """
import sys
from pathlib import Path
from audits.evidence.run_locks import RunLocks
held = {}
for line in sys.stdin:
    word, folder, run = line.split()
    held[folder] = locks = held.get(folder) or RunLocks(Path(folder))
    print(locks.take(run) if word == "take" else locks.release(run), flush=True)
"""


class LedgerStates(RuleBasedStateMachine):
    """Writers that append, or are killed in the middle of a line; the model is a list of records a file."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.ledger, self.files, self.torn = Ledger(self.folder), dict[str, list[Record]](), set[str]()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    records = st.builds(
        Record,
        st.sampled_from(["a", "b"]),
        st.fixed_dictionaries({"x": st.integers(0, 1)}),
        st.integers(0, 1),
        st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False) | st.text(), max_size=2),
        st.just({}),
        st.just(1.0),
        st.sampled_from(["", "c" * 16]),
    )

    @rule(record=records)
    def append(self, record: Record) -> None:
        self.ledger.append(record)
        self.files.setdefault(record.experiment, []).append(record)
        self.torn.discard(record.experiment)

    @rule(record=records, share=st.floats(0, 1))
    def die_while_appending(self, record: Record, share: float) -> None:
        if record.experiment in self.torn:  # the next writer mends it first
            return
        line = record.to_line().encode()[:-1]  # its newline would be the last byte to arrive
        part = line[: round(share * len(line))]
        with (self.folder / f"{record.experiment}.jsonl").open("ab") as file:
            file.write(part)
        found = self.files.setdefault(record.experiment, [])
        if part:
            self.torn.add(record.experiment)
        if part == line:
            found.append(record)

    @invariant()
    def reads_what_was_appended(self) -> None:
        latest: dict[str, Record] = {}
        for name in sorted(self.files):
            for record in self.files[name]:
                latest.pop(record.run, None)
                latest[record.run] = record
        assert self.ledger.read().records == tuple(latest.values())
        assert all(self.ledger.latest(record.experiment, run) == record for run, record in latest.items())

    @invariant()
    def leaves_no_litter(self) -> None:
        assert {path.name for path in self.folder.iterdir()} <= {"a.jsonl", "b.jsonl"}


def never_called(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    raise AssertionError


class Others:
    """Another process that locks runs, and is killed now and then."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, text=True, **pipes)

    def ask(self, word: str, folder: Path, run: str) -> bool:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word} {folder} {run}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == "True\n"

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def die(self) -> None:
        self.end()
        self._begin()


class Scripted(Executor):
    """Executes runs in memory: each ends as its script says. Where nothing is left to execute, the others go on."""

    def __init__(self, machine: GatheringStates, script: dict[int, list[str]], at_a_time: int) -> None:
        self._machine, self._script, self._at_a_time = machine, script, at_a_time
        self._queue: list[Task] = []

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def at_a_time(self) -> float:
        return self._at_a_time

    def submit(self, tasks: Sequence[Task]) -> None:
        self._queue += tasks
        assert len(self._queue) <= self._at_a_time
        for task in tasks:
            assert task.run not in self._machine.held
            assert task.spec.seed not in self._machine.done

    def _seeds(self) -> set[int]:
        return {task.spec.seed for task in self._queue}

    def forget(self, run: str, *, keep_log: bool = False) -> None:
        self._queue = [task for task in self._queue if task.run != run]

    def wait(self, seconds: float | None) -> Sequence[Event]:
        self._machine.check_free(
            self._machine.runs[seed] for seed in self._machine.recorded if seed not in self._seeds()
        )
        if not self._queue:
            self._machine.others_go_on()
            return []
        task = self._queue.pop(0)
        run, ends = task.run, self._script.get(task.spec.seed)
        assert task.options.checkpoints is not None
        Path(task.options.checkpoints).mkdir(parents=True, exist_ok=True)
        self._machine.unfinished.add(task.spec.seed)
        match ends.pop(0) if ends else "finish":
            case "fail":
                return [Began(run, {}), Failed(run, "as the script says")]
            case "die":
                return [Began(run, {}), Died(run, "the worker", "killed", "")]
            case "interrupt":
                raise KeyboardInterrupt
        self._machine.recorded[task.spec.seed] = "us"
        self._machine.unfinished.remove(task.spec.seed)
        return [Began(run, {}), Finished(run, '{"by": "us"}', 1.0)]


class GatheringStates(RuleBasedStateMachine):
    """Gatherings on one ledger, interrupted or not, with runs that others hold; the model is who recorded which run."""

    others: ClassVar[Others]
    SEEDS = range(4)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.ledger = Ledger(self.folder / "evidence")
        self.ledger.check_writable()
        self.demo = Experiment("demo", lambda _: tuple(RunSpec("demo", {}, seed) for seed in self.SEEDS), never_called)
        self.code = code_of(self.demo)
        self.runs = {seed: run_hash("demo", {}, seed, self.code) for seed in self.SEEDS}
        self.recorded: dict[int, str] = {}
        self.held: dict[str, tuple[int, str]] = {}  # by the others: its seed, and how they end it
        self.unfinished: set[int] = set()  # what we began last and did not finish
        self.done: set[int] = set()  # what a gathering may not begin

    def teardown(self) -> None:
        self.others.die()
        shutil.rmtree(self.folder)

    def others_go_on(self) -> None:
        """They end one of their runs: it is recorded or fails; or the process is killed, with all that it holds."""
        assert self.held, "a gathering waits, and nobody holds a run"
        run, (seed, end) = self.held.popitem()
        if end == "killed":
            self.held.clear()
            return self.others.die()
        if end == "recorded":
            self.ledger.append(Record("demo", {}, seed, {"by": "others"}, {}, 1.0, self.code))
            self.recorded[seed] = "others"
            self.done.add(seed)
        self.others.ask("release", self.ledger.folder, run)
        return None

    def check_free(self, runs: Iterable[str]) -> None:
        for run in set(runs) - set(self.held):
            assert self.others.ask("take", self.ledger.folder, run), "a run stays locked"
            self.others.ask("release", self.ledger.folder, run)

    @rule(seed=st.sampled_from(SEEDS), end=st.sampled_from(["recorded", "failed", "killed"]))
    def others_lock(self, seed: int, end: str) -> None:
        if seed not in self.recorded:
            assert self.others.ask("take", self.ledger.folder, self.runs[seed])
            self.held[self.runs[seed]] = (seed, end)

    ends = st.lists(st.sampled_from(["finish", "fail", "die", "interrupt"]), max_size=2)

    @rule(script=st.dictionaries(st.sampled_from(SEEDS), ends), at_a_time=st.integers(1, 5), fresh=st.booleans())
    def gather(self, script: dict[int, list[str]], at_a_time: int, fresh: bool) -> None:
        executor = Scripted(self, script, at_a_time)
        options, console = Options(checkpoints=str(self.folder / "checkpoints")), Console(file=io.StringIO())
        self.done = set() if fresh else set(self.recorded)
        try:
            found = gather([self.demo], options, self.ledger, fresh=fresh, console=console, executor=executor)
        except KeyboardInterrupt:
            return
        failed = {failure.spec.seed for failure in found.failures}
        assert failed | set(self.recorded) == set(self.SEEDS)
        assert not self.held

    @invariant()
    def what_is_recorded_is_what_the_model_says(self) -> None:
        assert {record.seed: record.result["by"] for record in self.ledger.read().records} == self.recorded

    @invariant()
    def no_run_stays_locked_and_no_finished_one_has_a_checkpoint(self) -> None:
        self.check_free(self.runs.values())
        for seed, run in self.runs.items():
            assert seed in self.unfinished or not (self.folder / "checkpoints" / run).exists()


def test_the_ledger_reads_what_was_appended_whatever_writers_do() -> None:
    run_state_machine_as_test(LedgerStates, settings=SETTINGS)


def test_gatherings_share_runs_whatever_becomes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits.evidence.runner, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(audits.evidence.runner, "commit", lambda: "")
    monkeypatch.setattr(audits.evidence.runner, "environment", lambda device: {})
    GatheringStates.others = Others()
    try:
        run_state_machine_as_test(GatheringStates, settings=SETTINGS)
    finally:
        GatheringStates.others.end()
