"""Carries out one run in the process that is there for it, the same way on every executor."""

from __future__ import annotations

import json
import pickle
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

from audits.evidence.address import code_behind
from audits.evidence.executors.executor import Job
from audits.evidence.experiment import Progress


@dataclass(frozen=True)
class Result:
    """What a run gave, as a JSON text, and the seconds it took."""

    text: str
    seconds: float


@dataclass(frozen=True)
class NoResult:
    """Why a run gave nothing, in one line."""

    error: str


def packed(job: Job) -> bytes:
    """The job as bytes for another process.

    Raises:
        ValueError: it cannot be sent.
    """
    try:
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"cannot be sent to a worker, execute must be a function of a module: {error}") from None


def carry_out(data: bytes, tell: Progress) -> Result | NoResult:
    """Do a packed job. One thread and its seed make its result independent of what runs beside or ran before."""
    start = time.perf_counter()
    try:
        job: Job = pickle.loads(data)  # noqa: S301 - packed by the process that gathers
        if job.code and code_behind(job.execute, job.beside) != job.code:
            return NoResult("its code has changed since it was submitted; run the same command again")
        torch.set_num_threads(1)
        torch.manual_seed(job.spec.seed)
        result: object = job.execute(job.spec, job.options, tell)
        if not isinstance(result, dict):
            return NoResult(f"its result is of type {type(result).__name__}; it must be a dict")
        return Result(json.dumps(result, allow_nan=False), time.perf_counter() - start)
    except BaseException as error:  # a run must not take its process along, not even by SystemExit
        return NoResult(one_line(error))


def one_line(error: BaseException) -> str:
    """The error's type, text and place in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
