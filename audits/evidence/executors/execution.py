"""Executes one run in the process that is there for it, the same way on every executor."""

from __future__ import annotations

import json
import math
import pickle
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from audits.evidence.code_hash import code_behind
from audits.evidence.executors.executor import Began, Failed, Finished, ProgressReported
from audits.evidence.executors.kept_state import keep, restore
from audits.evidence.experiment import Progress
from audits.evidence.machine import environment

Report = Callable[[Began | ProgressReported], None]


def execute(
    run: str, data: bytes, report: Report, every: float, catch: type[BaseException] = BaseException
) -> Finished | Failed:
    """Execute a run by its address and what `Task.packed` gave; its thread and seed are its own.

    `report` is called when it begins and with its progress, at least `every` seconds apart but for the last step.
    `catch` is what becomes a failure of the run; anything else ends the process.
    """
    start = time.perf_counter()
    try:
        function, spec, options, code, not_hashed = pickle.loads(data)  # noqa: S301 - packed by the process that gathers
        report(Began(run, environment(options.device)))
        if code and code_behind(function, not_hashed) != code:
            return Failed(run, "its code has changed since it was submitted; run the same command again")
        torch.set_num_threads(1)
        torch.manual_seed(spec.seed)
        folder = Path(options.checkpoints) if options.checkpoints else None
        if folder:
            restore(folder)
        result: object = function(spec, options, _progress(run, report, every, folder))
        if not isinstance(result, dict):
            return Failed(run, f"its result is of type {type(result).__name__}; it must be a dict")
        return Finished(run, json.dumps(result, allow_nan=False), time.perf_counter() - start)
    except catch as error:
        return Failed(run, _one_line(error))


def _progress(run: str, report: Report, every: float, folder: Path | None) -> Progress:
    """The run's progress function; a step can be faster than a terminal can show or a shared folder can take.

    With each report the files of the run's folder are kept.
    """
    last = -math.inf

    def report_progress(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= every:
            last = now
            if folder:
                keep(folder)
            report(ProgressReported(run, done, total, note))

    return report_progress


def _one_line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text
