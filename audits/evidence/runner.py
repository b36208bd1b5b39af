"""Gathers evidence: finds out which runs the ledger lacks, has them executed, and records each as it finishes."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from audits.evidence.code_hash import code_of
from audits.evidence.display import Display
from audits.evidence.executors.executor import (
    Began,
    Died,
    Event,
    Executor,
    ExecutorError,
    Failed,
    Finished,
    ProgressReported,
    Requeued,
    Task,
)
from audits.evidence.executors.local import LocalExecutor
from audits.evidence.experiment import Experiment, Options, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record, run_hash
from audits.evidence.machine import commit, environment
from audits.evidence.run_locks import RunLocks
from audits.evidence.succession import accepted

SHORTEST = 0.1  # seconds that a run is expected to take, at least
LOOK_SECONDS = 2.0  # between two looks at runs that other processes execute (our choice)
DEATHS_ALLOWED = 1  # a run is begun again so often after its process was killed; memory may have been short by chance


@dataclass(frozen=True)
class Failure:
    """A run that gave no result, and why in one line."""

    spec: RunSpec
    error: str

    @property
    def line(self) -> str:
        """Experiment, configuration, seed and error in one line."""
        config = json.dumps(self.spec.config, sort_keys=True)
        return f"{self.spec.experiment} {config} seed {self.spec.seed}: {self.error}"


@dataclass(frozen=True)
class Gathered:
    """All evidence in the ledger after the gathering, and the runs that failed."""

    evidence: Evidence
    failures: tuple[Failure, ...]


def gather(
    experiments: Iterable[Experiment],
    options: Options,
    ledger: Ledger,
    *,
    workers: int | None = None,
    fresh: bool = False,
    console: Console | None = None,
    executor: Executor | None = None,
    earlier: Evidence = Evidence(),  # noqa: B008 - it is frozen
) -> Gathered:
    """Execute every run that is not in the ledger yet, and read the ledger.

    Each finished run is in the ledger at once; an interrupt loses only runs under way. Only this process writes the
    records of its runs, wherever they are executed. Other processes may gather on the same ledger: each run is locked
    before it starts, and those that others execute are waited for. One that failed there is tried here as well.

    Each run gets a folder of its own in `options.checkpoints`; it is deleted when the run is recorded, or begun afresh.
    `fresh` executes all runs anew; their records replace the earlier ones. Without an `executor` they are executed by
    local processes, at most `workers` at a time. Progress is shown on `console`, standard error where there is none;
    the records `earlier` help to estimate the time left.

    Raises:
        LedgerError: the ledger cannot be read or written.
        ExecutorError: the executor cannot execute runs.
        ValueError: `workers` is below 1, or an experiment lists a run under another's name.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    ledger.check_writable()
    experiments, tried, failures = tuple(experiments), set[str](), list[Failure]()
    before = {record.run: record for record in ledger.read().records} if fresh else {}
    with executor or LocalExecutor(options.device, workers) as at_work, RunLocks(ledger.folder) as locks:
        while True:
            tasks, done = _tasks(experiments, options, Evidence() if fresh and not tried else ledger.read())
            missing = [task for task in tasks if task.run not in tried and (fresh or task.run not in done)]
            if tried and not missing:
                break
            tried |= {task.run for task in missing}
            with Display(console or Console(stderr=True), _expected(missing, earlier, ledger.read())) as display:
                display.say(f"{len(missing)} runs to execute, {len(tasks) - len(missing)} already in the ledger")
                failures += _Gathering(options.device, ledger, display, at_work, locks).execute(missing, fresh, before)
            if not missing:
                break
    return Gathered(ledger.read(), tuple(failures))


def _tasks(experiments: Iterable[Experiment], options: Options, evidence: Evidence) -> tuple[list[Task], set[str]]:
    """The runs of all experiments in order, each once, and those that code which counts as today's has done."""
    codes = accepted(evidence, {experiment.recorded_as: code_of(experiment) for experiment in experiments})
    known = evidence.fresh(codes)
    tasks: dict[str, Task] = {}
    done: set[str] = set()
    for experiment in experiments:
        for spec in experiment.planned(options, known):
            if spec.experiment != experiment.recorded_as:
                raise ValueError(
                    f"experiment {experiment.name} lists a run of {spec.experiment}; use {experiment.recorded_as}"
                )
            run = run_hash(spec.experiment, spec.config, spec.seed, code_of(experiment))
            kept = options.checkpoints and str(Path(options.checkpoints).absolute() / run)
            tasks.setdefault(run, Task(run, experiment, spec, replace(options, checkpoints=kept)))
            if known.answer(spec.experiment, spec.config, spec.seed):
                done.add(run)
    return list(tasks.values()), done


def _expected(tasks: list[Task], *known: Evidence) -> dict[str, float]:
    """The seconds that each run took before; else the mean of its experiment, of all runs where that is unknown."""
    took: dict[str, float] = {}
    alike: defaultdict[str, list[float]] = defaultdict(list)
    for record in (record for evidence in known for record in evidence.records):
        took[record.question] = record.seconds
        alike[record.experiment].append(record.seconds)
    usual = fmean(took.values()) if took else 1.0

    def seconds(spec: RunSpec) -> float:
        before = took.get(run_hash(spec.experiment, spec.config, spec.seed))
        return max(SHORTEST, before or fmean(alike[spec.experiment] or [usual]))

    return {task.run: seconds(task.spec) for task in tasks}


class _Gathering:
    """The state of one gathering: which runs are open, since when, what failed."""

    def __init__(self, device: str, ledger: Ledger, display: Display, executor: Executor, locks: RunLocks) -> None:
        self._ledger, self._display, self._executor, self._locks = ledger, display, executor, locks
        self._environment, self._commit = environment(device), commit()
        self._failures: list[Failure] = []
        # All below by the run's address.
        self._waiting: dict[str, Task] = {}  # not begun, or locked by another process
        self._next_look, self._told = 0.0, False  # at locks, in monotonic seconds; whether the user knows of the others
        self._open: dict[str, Task] = {}
        self._begun: dict[str, float] = {}
        self._machines: dict[str, dict[str, str]] = {}
        self._deaths: Counter[str] = Counter()

    def execute(self, tasks: list[Task], fresh: bool, before: Mapping[str, Record]) -> list[Failure]:
        """Do the tasks; returns when none is left. An interrupt says what goes on without this process.

        `fresh` begins each anew, without its checkpoint; the records `before` do not count as having done their runs.
        """
        self._waiting = {task.run: task for task in sorted(tasks, key=lambda task: task.experiment.exclusive)}
        try:
            while self._begin_more(fresh, before):
                for event in self._executor.wait(self._patience()):
                    self._handle(self._open[event.run], event)
                for task in [self._open[run] for run in self._begun if self._left(run) <= 0]:
                    self._fail(task, f"ended after {task.experiment.seconds:g} s, the time limit of a run")
        except (KeyboardInterrupt, ExecutorError):
            if goes_on := self._executor.left_behind:
                self._display.say(goes_on)
            raise
        return self._failures

    def _begin_more(self, fresh: bool, before: Mapping[str, Record]) -> bool:
        """Submit what there is room for and nobody has done meanwhile; whether anything is left."""
        begun: list[Task] = []
        for task in self._lock_more():
            if self._ledger.latest(task.spec.experiment, task.run) != before.get(task.run):
                self._close(task, recorded=True)
                self._display.end(task.run, f"{task.label}: done by another gathering")
                continue
            if fresh:
                self._executor.forget(task.run)
                _drop_checkpoints(task)
            begun.append(task)
        if begun:
            self._executor.submit(begun)
        elif self._waiting and not self._open and not self._told:
            self._told = True
            self._display.say(f"{len(self._waiting)} runs are executed by another gathering; waiting for them")
        return bool(self._open or self._waiting)

    def _lock_more(self) -> Iterator[Task]:
        """Open what there is room for. Where others have locked all that waits, the next look is a while later."""
        if time.monotonic() < self._next_look:
            return
        for run in list(self._waiting):
            if len(self._open) >= self._executor.at_a_time:
                return
            if self._locks.take(run):
                self._open[run] = self._waiting.pop(run)
                yield self._open[run]
        self._next_look = time.monotonic() + LOOK_SECONDS

    def _patience(self) -> float | None:
        """Seconds to wait for an event: till the next time limit, or the next look at what others have locked."""
        moments = [LOOK_SECONDS] if self._waiting and len(self._open) < self._executor.at_a_time else []
        moments += [max(0.0, left) for left in map(self._left, self._begun) if left < math.inf]
        return min(moments, default=None)

    def _left(self, run: str) -> float:
        """Seconds that a run may still take; its start-up does not count."""
        limit = self._open[run].experiment.seconds
        return math.inf if limit is None else self._begun[run] + limit - time.monotonic()

    def _handle(self, task: Task, event: Event) -> None:
        match event:
            case Began(run, machine):
                self._display.begin(run, task.label)
                self._begun[run] = time.monotonic()
                self._machines[run] = machine
            case ProgressReported(run, done, total, note):
                self._display.update(run, done, total, note)
            case Finished(run, result, seconds):
                self._record(task, json.loads(result), seconds)
                self._close(task, recorded=True)
                self._display.end(run, f"{task.label}: {seconds:.1f} s")
            case Failed(_, error):
                self._fail(task, error)
            case Requeued(_, why):
                self._pause(task, f"{why}; it goes on when the queue lets it")
            case Died(run, what, how, advice):
                self._deaths[run] += 1
                if self._deaths[run] > DEATHS_ALLOWED:
                    self._fail(task, f"{what} ended {self._deaths[run]} times ({how}); {advice}")
                else:
                    self._pause(task, f"{what} ended ({how}); beginning it once more")
                    self._executor.submit([task])

    def _pause(self, task: Task, why: str) -> None:
        self._begun.pop(task.run, None)
        self._display.pause(task.run, f"{task.label}: {why}")

    def _record(self, task: Task, result: dict[str, Any], seconds: float) -> None:
        spec, code, now = task.spec, code_of(task.experiment), datetime.now(UTC).isoformat(timespec="seconds")
        machine = self._machines.get(task.run, self._environment)
        self._ledger.append(
            Record(spec.experiment, spec.config, spec.seed, result, machine, seconds, code, self._commit, now)
        )

    def _fail(self, task: Task, error: str) -> None:
        """Note a run that gave no result; the others go on."""
        failure, on_failure = Failure(task.spec, error), task.experiment.on_failure
        self._failures.append(failure)
        if on_failure is not None:
            now = time.monotonic()
            self._record(task, on_failure(error), now - self._begun.get(task.run, now))
        self._close(task, recorded=on_failure is not None)
        self._display.end(task.run, f"failed: {failure.line}", failed=True)

    def _close(self, task: Task, *, recorded: bool) -> None:
        """End the run where it still runs. One that is not recorded will be tried again, from its checkpoint."""
        del self._open[task.run]
        self._begun.pop(task.run, None)
        self._executor.forget(task.run, keep_log=not recorded)
        if recorded:
            _drop_checkpoints(task)
        self._locks.release(task.run)


def _drop_checkpoints(task: Task) -> None:
    if task.options.checkpoints:
        shutil.rmtree(task.options.checkpoints, ignore_errors=True)
