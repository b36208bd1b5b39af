"""The default executor: a pool of worker processes on this machine, which end with this process."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from audits.evidence.executors.carrying import NoResult, Result, packed
from audits.evidence.executors.executor import Began, Died, Event, Failed, Finished, Order, Placed, Told
from audits.evidence.executors.worker import Gone, Step, Up, Worker


def default_workers(device: str) -> int:
    """One a core, and one in all on a GPU, whose memory the runs would share."""
    return 1 if device.startswith("cuda") else os.cpu_count() or 1


class LocalExecutor:
    """At most `workers` runs at a time; runs that ask to be alone come last, one at a time."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._orders: dict[str, Order] = {}
        self._waiting: deque[Order] = deque()
        self._alone: deque[Order] = deque()
        self._busy: dict[Worker, Order] = {}
        self._idle: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in (*self._busy, *self._idle):
            worker.kill()

    @property
    def left_behind(self) -> str:
        """Nothing: workers do not outlive this process."""
        return ""

    def submit(self, orders: Sequence[Order]) -> None:
        """Take runs to be carried out."""
        for order in orders:
            self._orders[order.run] = order
            self._queue(order).append(order)

    def resubmit(self, run: str) -> None:
        """Carry out a run that died once more, before all that wait."""
        order = self._orders[run]
        self._queue(order).appendleft(order)

    def wait(self, seconds: float | None) -> Sequence[Event]:
        """What happened: either something began, or a worker had something to say."""
        if begun := list(self._fill()):
            return begun
        ready = set(wait([worker.connection for worker in self._busy], seconds))
        return [self._hear(worker) for worker in [worker for worker in self._busy if worker.connection in ready]]

    def cancel(self, run: str) -> None:
        """End a run, and its worker with it: it can be in any state."""
        for worker in [worker for worker, order in self._busy.items() if order.run == run]:
            del self._busy[worker]
            worker.kill()

    def forget(self, run: str, *, keep_log: bool = False) -> None:  # noqa: ARG002 - part of the protocol
        """Nothing is kept outside this process."""
        self._orders.pop(run, None)

    def _queue(self, order: Order) -> deque[Order]:
        return self._alone if order.alone else self._waiting

    def _fill(self) -> Iterator[Event]:
        """Begin what there is room for."""
        while self._waiting and len(self._busy) < self._workers:
            yield from self._begin(self._waiting.popleft())
        if self._alone and not self._busy and not self._waiting:
            yield from self._begin(self._alone.popleft())

    def _begin(self, order: Order) -> Iterator[Event]:
        """Give the order to an idle worker, or to a new one."""
        yield Placed(order.run)
        try:
            data = packed(replace(order.job, code=""))  # workers import at once what this process has hashed
        except ValueError as error:
            yield Failed(order.run, str(error))
            return
        worker = self._idle.pop() if self._idle else Worker()
        self._busy[worker] = order
        try:
            worker.give(data)
        except OSError:
            yield self._died(worker, worker.end())

    def _hear(self, worker: Worker) -> Event:
        """What a worker's message means for its run."""
        run = self._busy[worker].run
        match worker.hear():
            case Up():
                return Began(run)
            case Step(done, total, note):
                return Told(run, done, total, note)
            case Result(text, seconds):
                self._release(worker)
                return Finished(run, text, seconds)
            case NoResult(error):
                self._release(worker)
                return Failed(run, error)
            case Gone(how):
                return self._died(worker, how)

    def _release(self, worker: Worker) -> None:
        """The worker is free for another run."""
        del self._busy[worker]
        self._idle.append(worker)

    def _died(self, worker: Worker, how: str) -> Died:
        """The run of a worker that was killed."""
        run = self._busy.pop(worker).run
        return Died(run, "its worker process", how, advice="if memory ran out, use fewer workers")
