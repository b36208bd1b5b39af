"""The default executor: a pool of worker processes on this machine, which end with this process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait

from audits.evidence.executors.executor import Died, Event, Executor, Failed, Finished, Task
from audits.evidence.executors.worker import Worker


class LocalExecutor(Executor):
    """At most `workers` runs at a time; exclusive ones come last, one at a time.

    None is one worker a core, and one in all on a GPU, whose memory the runs would share.
    """

    def __init__(self, device: str, workers: int | None = None) -> None:
        self._workers = workers or (1 if device.startswith("cuda") else os.cpu_count() or 1)
        self._shared: deque[Task] = deque()
        self._exclusive: deque[Task] = deque()
        self._busy: dict[Worker, Task] = {}
        self._idle: list[Worker] = []

    def __exit__(self, *_: object) -> None:
        for worker in (*self._busy, *self._idle):
            worker.kill()

    @property
    def at_a_time(self) -> float:
        """As many as there are workers."""
        return self._workers

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take runs to be executed."""
        for task in tasks:
            (self._exclusive if task.experiment.exclusive else self._shared).append(task)

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What cannot be begun, else the next event of every worker that has one."""
        if refused := list(self._fill()):
            return refused
        ready = wait([worker.connection for worker in self._busy], seconds)
        return [self._event(worker) for worker in list(self._busy) if worker.connection in ready]

    def forget(self, run: str, *, keep_log: bool = False) -> None:  # noqa: ARG002 - part of the interface
        """End a run, and its worker with it: it can be in any state."""
        for worker in [worker for worker, task in self._busy.items() if task.run == run]:
            del self._busy[worker]
            worker.kill()

    def _fill(self) -> Iterator[Failed]:
        while self._shared and len(self._busy) < self._workers:
            yield from self._begin(self._shared.popleft())
        if self._exclusive and not self._busy and not self._shared:
            yield from self._begin(self._exclusive.popleft())

    def _begin(self, task: Task) -> Iterator[Failed]:
        try:
            data = task.packed()  # without a hash: workers import at once what this process has hashed
        except ValueError as error:
            yield Failed(task.run, str(error))
            return
        worker = self._idle.pop() if self._idle and not task.experiment.fresh_process else Worker()
        self._busy[worker] = task
        worker.give(task.run, data)

    def _event(self, worker: Worker) -> Event:
        """A worker's next event; the last one of its run sets it free."""
        event = worker.next_event()
        if event is None:
            advice = "if memory ran out, use fewer workers"
            return Died(self._busy.pop(worker).run, "its worker process", worker.end(), advice)
        if isinstance(event, Finished | Failed):
            if self._busy.pop(worker).experiment.fresh_process:
                worker.kill()
            else:
                self._idle.append(worker)
        return event
