"""Worker processes: each executes one run at a time and sends its events through a pipe of its own.

No library's pool does: in concurrent.futures and loky one dead worker fails all runs; in pebble a run that ends its
process with exit code 0 is waited for forever, workers outlive a killed parent, and progress has no way back.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection

from audits.evidence.executors.execution import execute
from audits.evidence.executors.executor import Event

PROGRESS_SECONDS = 0.1  # between two reports of progress


class Worker:
    """The parent's end of a worker process, spawned and not forked: torch's threads do not survive a fork."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # starting it would let held interrupts through
        with interrupts_held():
            self._process.start()
        theirs.close()

    def give(self, run: str, data: bytes) -> None:
        """Hand over a packed run; where the worker is gone, the next event says so."""
        with contextlib.suppress(OSError):
            self.connection.send((run, data))

    def next_event(self) -> Event | None:
        """What the worker sends next, None once it is gone; waits for it."""
        try:
            event: Event = self.connection.recv()
        except (EOFError, OSError):
            return None
        return event

    def end(self) -> str:
        """Kill the process if it still runs, and say by which signal or exit code it ended."""
        self.connection.close()
        self._process.join(timeout=1.0)  # one that ends by itself has the pipe closed a little earlier
        self.kill()
        code = self._process.exitcode or 0
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back: a process that starts meanwhile inherits that, and what must not be cut in two is not."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection) -> None:
    """A worker's life: execute runs until the parent closes the pipe. Interrupts are the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def send(event: Event) -> None:
        """Send to the parent; without one the process ends at once, for nobody would read its result."""
        try:
            connection.send(event)
        except OSError:
            os._exit(1)

    while True:
        try:
            run, data = connection.recv()
        except (EOFError, OSError):
            return
        send(execute(run, data, send, PROGRESS_SECONDS))
