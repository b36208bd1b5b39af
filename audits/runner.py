"""Gathers evidence: carries out the runs that the ledger lacks, in parallel, and records each one as it finishes."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from audits.display import Display
from audits.experiment import Experiment, Options, RunSpec
from audits.ledger import Evidence, Ledger, Record, run_hash
from audits.machine import commit, environment
from audits.registry import code_of
from audits.workers import Began, Died, Failed, Finished, Job, Told, Worker

DEATHS_ALLOWED = 1  # a run is begun again so often after its worker was killed; memory may have been short by chance


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


@dataclass(frozen=True)
class _Task:
    """One run to be carried out."""

    experiment: Experiment
    spec: RunSpec
    run: str

    @property
    def label(self) -> str:
        """What the user knows the run by."""
        return self.spec.label or f"{self.spec.experiment} seed {self.spec.seed}"


def gather(
    experiments: Iterable[Experiment],
    options: Options,
    ledger: Ledger,
    *,
    workers: int | None = None,
    fresh: bool = False,
    console: Console | None = None,
) -> Gathered:
    """Carry out every run that is not in the ledger yet, and read the ledger.

    Each finished run is in the ledger at once; an interrupt loses only runs under way. Runs of experiments that ask to
    be alone come last, one at a time.

    Args:
        experiments: what to gather.
        options: the user's choices, handed to each experiment.
        ledger: where evidence is looked for and recorded.
        workers: processes at a time; None is one per core, and one in all on a GPU, whose memory the runs would share.
        fresh: carry out all runs anew; their records replace the earlier ones.
        console: where progress is shown; None is standard error.

    Raises:
        LedgerError: the ledger cannot be read or written.
        ValueError: `workers` is below 1, or an experiment lists a run under another's name.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    ledger.check_writable()
    tasks = _tasks(experiments, options)
    present = set() if fresh else {record.run for record in ledger.read().records}
    missing = [task for task in tasks if task.run not in present]
    count = workers or (1 if options.device.startswith("cuda") else os.cpu_count() or 1)
    with (
        Display(console or Console(stderr=True), len(missing)) as display,
        _Gathering(options, ledger, display) as work,
    ):
        display.say(f"{len(missing)} runs to carry out, {len(tasks) - len(missing)} already in the ledger")
        work.carry_out([task for task in missing if not task.experiment.alone], count)
        work.carry_out([task for task in missing if task.experiment.alone], 1)
    if fresh:
        ledger.compact()
    return Gathered(ledger.read(), tuple(work.failures))


def _tasks(experiments: Iterable[Experiment], options: Options) -> list[_Task]:
    """The runs of all experiments in order, each once."""
    tasks: dict[str, _Task] = {}
    for experiment in experiments:
        for spec in experiment.runs(options):
            if spec.experiment != experiment.recorded_as:
                raise ValueError(
                    f"experiment {experiment.name} lists a run of {spec.experiment}; use {experiment.recorded_as}"
                )
            run = run_hash(spec.experiment, spec.config, spec.seed, code_of(experiment))
            tasks.setdefault(run, _Task(experiment, spec, run))
    return list(tasks.values())


class _Gathering:
    """The state of one gathering: who works on what, what failed. Leaving it ends all workers."""

    def __init__(self, options: Options, ledger: Ledger, display: Display) -> None:
        self.failures: list[Failure] = []
        self._options, self._ledger, self._display = options, ledger, display
        self._environment, self._commit = environment(options.device), commit()
        self._waiting: deque[_Task] = deque()
        self._busy: dict[Worker, _Task] = {}
        self._begun: dict[str, float] = {}  # by the run's address
        self._idle: list[Worker] = []
        self._deaths: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in (*self._busy, *self._idle):
            worker.kill()

    def carry_out(self, tasks: list[_Task], count: int) -> None:
        """Do the tasks with at most `count` workers at a time; returns when none is under way."""
        self._waiting.extend(tasks)
        while self._waiting or self._busy:
            while self._waiting and len(self._busy) < count:
                self._begin(self._waiting.popleft())
            ready = set(wait([worker.connection for worker in self._busy], self._patience()))
            for worker in [worker for worker in self._busy if worker.connection in ready]:
                self._hear(worker)
            for worker in [worker for worker in self._busy if self._left(worker) <= 0]:
                self._stop(worker)

    def _begin(self, task: _Task) -> None:
        """Give the task to an idle worker, or to a new one."""
        worker = self._idle.pop() if self._idle else Worker()
        self._busy[worker] = task
        self._display.begin(task.run, task.label)
        try:
            worker.give(Job(task.experiment.execute, task.spec, self._options))
        except ValueError as error:
            self._release(worker)
            self._fail(task, str(error))
        except OSError:
            self._died(worker, worker.end())

    def _hear(self, worker: Worker) -> None:
        """Act on a worker's message."""
        task, message = self._busy[worker], worker.hear()
        match message:
            case Began():
                self._begun[task.run] = time.monotonic()
            case Told(done, total, note):
                self._display.tell(task.run, done, total, note)
            case Finished(result, seconds):
                self._release(worker)
                self._record(task, result, seconds)
            case Failed(error):
                self._release(worker)
                self._fail(task, error)
            case Died(how):
                self._died(worker, how)

    def _left(self, worker: Worker) -> float:
        """Seconds that the run of a worker may still take; its start-up does not count."""
        task = self._busy[worker]
        limit, begun = task.experiment.seconds, self._begun.get(task.run)
        return math.inf if limit is None or begun is None else begun + limit - time.monotonic()

    def _patience(self) -> float | None:
        """Seconds until a run reaches its limit; None where none has one."""
        left = min((self._left(worker) for worker in self._busy), default=math.inf)
        return None if left == math.inf else max(0.0, left)

    def _stop(self, worker: Worker) -> None:
        """End a run that took too long, and the worker with it: it can be in any state."""
        task = self._busy.pop(worker)
        worker.kill()
        self._fail(task, f"ended after {task.experiment.seconds:g} s, the time limit of a run")

    def _release(self, worker: Worker) -> None:
        """The worker is free for another task."""
        del self._busy[worker]
        self._idle.append(worker)

    def _record(self, task: _Task, result: str, seconds: float) -> None:
        """Put a finished run into the ledger."""
        self._append(task, json.loads(result), seconds)
        self._display.end(task.run, f"{task.label}: {seconds:.1f} s")

    def _append(self, task: _Task, result: dict[str, Any], seconds: float) -> None:
        spec, code = task.spec, code_of(task.experiment)
        self._ledger.append(
            Record(
                spec.experiment,
                spec.config,
                spec.seed,
                result,
                self._environment,
                seconds,
                code,
                self._commit,
                datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )

    def _fail(self, task: _Task, error: str) -> None:
        """Note a run that gave no result; the others go on."""
        failure, lost = Failure(task.spec, error), task.experiment.lost
        self.failures.append(failure)
        if lost is not None:
            now = time.monotonic()
            self._append(task, lost(error), now - self._begun.get(task.run, now))
        self._display.end(task.run, f"failed: {failure.line}", failed=True)

    def _died(self, worker: Worker, how: str) -> None:
        """Begin the run of a worker that was killed once more, or give it up."""
        task = self._busy.pop(worker)
        self._begun.pop(task.run, None)
        self._deaths[task.run] += 1
        if self._deaths[task.run] <= DEATHS_ALLOWED:
            self._display.pause(task.run, f"{task.label}: its worker process ended ({how}); beginning it once more")
            self._waiting.appendleft(task)
            return
        times = self._deaths[task.run]
        self._fail(task, f"its worker process ended {times} times ({how}); if memory ran out, use fewer workers")
