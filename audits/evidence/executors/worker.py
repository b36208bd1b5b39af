"""Worker processes: each carries out one run at a time and tells its progress through a pipe of its own.

No queue is shared, because a worker killed while it holds a shared queue's lock would silence all others; with a pipe
each, the death of a worker is seen at once, and it is known which run died with it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection

from audits.evidence.executors.carrying import NoResult, Result, carry_out
from audits.evidence.experiment import Progress

TELL_SECONDS = 0.1  # progress is told at most so often; a step can be faster than a terminal can show


@dataclass(frozen=True)
class Up:
    """The worker has the job."""


@dataclass(frozen=True)
class Step:
    """How far the run is."""

    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Gone:
    """The worker ended without an answer; `how` says by which signal or exit code."""

    how: str


Message = Up | Step | Result | NoResult


class Worker:
    """The parent's end of a worker process, spawned and not forked: torch's threads do not survive a fork."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # starting it would let held interrupts through
        with interrupts_held():
            self._process.start()
        theirs.close()

    def give(self, data: bytes) -> None:
        """Hand over a packed job.

        Raises:
            OSError: the worker is gone.
        """
        self.connection.send_bytes(data)

    def hear(self) -> Message | Gone:
        """The worker's next message; waits for it."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return Gone(self.end())
        return message

    def end(self) -> str:
        """Kill the process if it still runs, and say how it ended."""
        self.connection.close()
        self._process.join(timeout=1.0 if self._process.exitcode is None else 0.0)
        self.kill()
        return self._how

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    @property
    def _how(self) -> str:
        code = self._process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back: a process that starts meanwhile inherits that, and what must not be cut in two is not."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection) -> None:
    """A worker's life: carry out jobs until the parent closes the pipe. Interrupts are the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):
            return
        _send(connection, Up())
        _send(connection, carry_out(data, _teller(connection)))


def _teller(connection: Connection) -> Progress:
    """A run's progress function: tells the parent, but not too often, and always the last step."""
    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < TELL_SECONDS:
            return
        last = now
        _send(connection, Step(done, total, note))

    return tell


def _send(connection: Connection, message: Message) -> None:
    """Tell the parent; a worker whose parent is gone ends at once, for nobody would read its result."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)
