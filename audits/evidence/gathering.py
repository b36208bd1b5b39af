"""One gathering under way: has an executor execute runs, handles its events, and records each run as it finishes."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audits.evidence.address import code_of
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
    Submission,
)
from audits.evidence.experiment import Experiment, Options, RunSpec
from audits.evidence.ledger import Ledger, Record
from audits.evidence.machine import commit, environment

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
class Task:
    """One run to be executed."""

    experiment: Experiment
    spec: RunSpec
    run: str

    @property
    def label(self) -> str:
        """What the user knows the run by."""
        return self.spec.label or f"{self.spec.experiment} seed {self.spec.seed}"


class Gathering:
    """The state of one gathering: which runs are open, since when, what failed."""

    def __init__(self, options: Options, ledger: Ledger, display: Display, executor: Executor) -> None:
        self.failures: list[Failure] = []
        self._options, self._ledger, self._display, self._executor = options, ledger, display, executor
        self._environment, self._commit = environment(options.device), commit()
        self._open: dict[str, Task] = {}  # this and all below by the run's address
        self._begun: dict[str, float] = {}
        self._machines: dict[str, dict[str, str]] = {}
        self._deaths: Counter[str] = Counter()

    def execute(self, tasks: list[Task], *, fresh: bool) -> None:
        """Do the tasks; returns when none is open. An interrupt says what goes on without this process."""
        self._open = {task.run: task for task in tasks}
        if fresh:
            for run in self._open:
                self._executor.forget(run)
                self._drop_checkpoints(run)
        try:
            self._executor.submit([self._submission(task) for task in tasks])
            while self._open:
                for event in self._executor.wait(self._until_a_limit()):
                    self._handle(event)
                for task in [self._open[run] for run in self._begun if self._left(run) <= 0]:
                    self._fail(task, f"ended after {task.experiment.seconds:g} s, the time limit of a run")
        except (KeyboardInterrupt, ExecutorError):
            if left := self._executor.left_behind:
                self._display.say(left)
            raise

    def _submission(self, task: Task) -> Submission:
        """What the executor needs to know; the run's checkpoints get a folder of their own."""
        folder, experiment = self._checkpoints(task.run), task.experiment
        options = replace(self._options, checkpoints=None if folder is None else str(folder))
        return Submission(
            task.run,
            experiment.execute,
            task.spec,
            options,
            code=code_of(experiment),
            not_hashed=experiment.not_hashed,
            exclusive=experiment.exclusive,
            fresh_process=experiment.fresh_process,
        )

    def _checkpoints(self, run: str) -> Path | None:
        return None if self._options.checkpoints is None else Path(self._options.checkpoints).absolute() / run

    def _drop_checkpoints(self, run: str) -> None:
        """Delete the folder of a run."""
        if folder := self._checkpoints(run):
            shutil.rmtree(folder, ignore_errors=True)

    def _handle(self, event: Event) -> None:
        """Act on what happened to an open run."""
        task = self._open[event.run]
        match event:
            case Began(run, machine):
                self._display.begin(run, task.label)
                self._begun[run] = time.monotonic()
                self._machines[run] = machine
            case ProgressReported(run, done, total, note):
                self._display.update(run, done, total, note)
            case Finished(_, result, seconds):
                self._record(task, result, seconds)
            case Failed(_, error):
                self._fail(task, error)
            case Requeued(run, why):
                self._pause(run, f"{task.label}: {why}; it goes on when the queue lets it")
            case Died():
                self._died(task, event)

    def _left(self, run: str) -> float:
        """Seconds that a run may still take; its start-up does not count."""
        limit = self._open[run].experiment.seconds
        return math.inf if limit is None else self._begun[run] + limit - time.monotonic()

    def _until_a_limit(self) -> float | None:
        """Seconds until a run reaches its limit; None where none has one."""
        left = min((self._left(run) for run in self._begun), default=math.inf)
        return None if left == math.inf else max(0.0, left)

    def _record(self, task: Task, result: str, seconds: float) -> None:
        """Put a finished run into the ledger."""
        self._append(task, json.loads(result), seconds)
        self._close(task, recorded=True)
        self._display.end(task.run, f"{task.label}: {seconds:.1f} s")

    def _append(self, task: Task, result: dict[str, Any], seconds: float) -> None:
        spec, code = task.spec, code_of(task.experiment)
        machine = self._machines.get(task.run, self._environment)
        self._ledger.append(
            Record(
                spec.experiment,
                spec.config,
                spec.seed,
                result,
                machine,
                seconds,
                code,
                self._commit,
                datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )

    def _fail(self, task: Task, error: str) -> None:
        """Note a run that gave no result; the others go on."""
        failure, on_failure = Failure(task.spec, error), task.experiment.on_failure
        self.failures.append(failure)
        if on_failure is not None:
            now = time.monotonic()
            self._append(task, on_failure(error), now - self._begun.get(task.run, now))
        self._close(task, recorded=on_failure is not None)
        self._display.end(task.run, f"failed: {failure.line}", failed=True)

    def _close(self, task: Task, *, recorded: bool) -> None:
        """End the run where it still runs. One that is not recorded will be tried again, from its checkpoint."""
        del self._open[task.run]
        self._begun.pop(task.run, None)
        self._executor.forget(task.run, keep_log=not recorded)
        if recorded:
            self._drop_checkpoints(task.run)

    def _pause(self, run: str, line: str) -> None:
        """The run is interrupted for now."""
        self._begun.pop(run, None)
        self._display.pause(run, line)

    def _died(self, task: Task, death: Died) -> None:
        """Begin a run that died once more, or give it up."""
        self._deaths[task.run] += 1
        times = self._deaths[task.run]
        if times <= DEATHS_ALLOWED:
            self._pause(task.run, f"{task.label}: {death.what} ended ({death.how}); beginning it once more")
            self._executor.submit([self._submission(task)])
            return
        self._fail(task, f"{death.what} ended {times} times ({death.how}); {death.advice}")
