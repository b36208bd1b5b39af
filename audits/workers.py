"""Worker processes: each carries out one run at a time and tells its progress through a pipe of its own.

No queue is shared, because a worker killed while it holds a shared queue's lock would silence all others; with a pipe
each, the death of a worker is seen at once, and it is known which run died with it.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from audits.experiment import Options, Progress, RunSpec

TELL_SECONDS = 0.1  # progress is told at most so often; a step can be faster than a terminal can show


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do."""

    execute: Callable[[RunSpec, Options, Progress], dict[str, Any]]
    spec: RunSpec
    options: Options


@dataclass(frozen=True)
class Began:
    """The worker is up and has the job: from here on its time counts."""


@dataclass(frozen=True)
class Told:
    """How far a run is: `done` of `total` steps."""

    done: int
    total: int
    note: str


@dataclass(frozen=True)
class Finished:
    """A run's result as a JSON text, and the seconds it took."""

    result: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Why a run gave no result, in one line."""

    error: str


@dataclass(frozen=True)
class Died:
    """The worker ended without an answer; `how` says by which signal or exit code."""

    how: str


class Worker:
    """The parent's end of a worker process, spawned and not forked: torch's threads do not survive a fork."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # starting it would let held interrupts through
        with _interrupts_held():
            self._process.start()
        theirs.close()

    def give(self, job: Job) -> None:
        """Hand over a job.

        Raises:
            ValueError: the job cannot be sent to another process.
            OSError: the worker is gone.
        """
        try:
            data = pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ValueError(f"cannot be sent to a worker, execute must be a function of a module: {error}") from None
        self.connection.send_bytes(data)

    def hear(self) -> Began | Told | Finished | Failed | Died:
        """The worker's next message; waits for it."""
        try:
            message: Began | Told | Finished | Failed = self.connection.recv()
        except (EOFError, OSError):
            return Died(self.end())
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
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while a process starts: it inherits that, and so dies of no interrupt before it ignores them."""
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
        _send(connection, Began())
        answer = _carry_out(data, _teller(connection))
        _send(connection, answer)


def _carry_out(data: bytes, tell: Progress) -> Finished | Failed:
    """Do a pickled job. One thread and the job's seed make its result independent of what runs beside or ran before."""
    start = time.perf_counter()
    try:
        job: Job = pickle.loads(data)  # noqa: S301 - sent by our own parent
        torch.set_num_threads(1)
        torch.manual_seed(job.spec.seed)
        result: object = job.execute(job.spec, job.options, tell)
        if not isinstance(result, dict):
            return Failed(f"its result is of type {type(result).__name__}; it must be a dict")
        return Finished(json.dumps(result, allow_nan=False), time.perf_counter() - start)
    except BaseException as error:  # a run must not take its worker along, not even by SystemExit
        return Failed(_one_line(error))


def _one_line(error: BaseException) -> str:
    """The error's type, text and place in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


def _teller(connection: Connection) -> Progress:
    """A run's progress function: tells the parent, but not too often, and always the last step."""
    last = 0.0

    def tell(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < TELL_SECONDS:
            return
        last = now
        _send(connection, Told(done, total, note))

    return tell


def _send(connection: Connection, message: Began | Told | Finished | Failed) -> None:
    """Tell the parent; a worker whose parent is gone ends at once, for nobody would read its result."""
    try:
        connection.send(message)
    except OSError:
        os._exit(1)
