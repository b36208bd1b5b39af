"""What starting costs: CPU seconds of the command line and of an import, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.bench import _toy

NAME = "start-up"
PROGRAM = "audits.__main__"
REPEATS = 5
FOLDER = Path(_toy.__file__).parent
WAYS = {  # our choice: what a user or a job waits for
    "hubrouter-audit --help": ("-m", PROGRAM, "--help"),
    "import audits": ("-c", "import audits"),
    "import torch": ("-c", "import torch"),
    "hubrouter-audit model, two layers, 96 tokens": ("-m", PROGRAM, "model", f"{Path(_toy.__file__).name}:model"),
    "the same, --preset quick": ("-m", PROGRAM, "model", f"{Path(_toy.__file__).name}:model", "--preset", "quick"),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run, the same at every tier."""
    del options
    return (RunSpec(NAME, {"ways": list(WAYS), "repeats": REPEATS}, 0, "CPU seconds of starting"),)


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Each way in turns, after one round that does not count; user and system time of the process and its children."""
    del options
    ways, repeats = list(spec.config["ways"]), int(spec.config["repeats"])
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(repeats + 1):
        for done, way in enumerate(ways):
            progress(round_ * len(ways) + done, (repeats + 1) * len(ways), way)
            taken = _cpu_seconds(WAYS[way])
            seconds[way] += [taken] if round_ else []
    return {"rows": [{"way": way, "seconds": seconds[way]} for way in ways]}


def _cpu_seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER, check=False)  # noqa: S603 - fixed words
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


EXPERIMENT = Experiment(NAME, runs, execute, exclusive=True, not_compared=("rows.*.seconds*",))
