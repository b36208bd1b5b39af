"""What starting and auditing cost: CPU seconds of the command line and of an import, each in a process of its own."""

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
FOLDER = Path(_toy.__file__).parent
MODEL = ("-m", PROGRAM, "model", f"{Path(_toy.__file__).name}:")
# What a user or a job waits for, and how often it is measured; our choice.
WAYS: dict[str, tuple[tuple[str, ...], int]] = {
    "hubrouter-audit --help": (("-m", PROGRAM, "--help"), 5),
    "import audits": (("-c", "import audits"), 5),
    "import torch": (("-c", "import torch"), 5),
    "hubrouter-audit model, two layers, 96 tokens": ((*MODEL[:-1], f"{MODEL[-1]}model"), 5),
    "the same, --preset quick": ((*MODEL[:-1], f"{MODEL[-1]}model", "--preset", "quick"), 5),
    "6 million parameters, 256 tokens": ((*MODEL[:-1], f"{MODEL[-1]}millions", "--seq-len", "256"), 2),
    "the same at 1,024 tokens": ((*MODEL[:-1], f"{MODEL[-1]}millions", "--seq-len", "1024"), 1),
}
# At the tiers after the quick one.
FURTHER = {
    "110 million parameters, 512 tokens": ((*MODEL[:-1], f"{MODEL[-1]}hundred_millions", "--seq-len", "512"), 1),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run."""
    ways = WAYS if options.tier == "quick" else WAYS | FURTHER
    return (RunSpec(NAME, {way: repeats for way, (_, repeats) in ways.items()}, 0, "CPU seconds of starting"),)


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Each way in turns, after one round that does not count; user and system time of the process and its children.

    What is measured once has no such round.
    """
    del options
    repeats = {way: int(times) for way, times in spec.config.items()}
    seconds: dict[str, list[float]] = {way: [] for way in repeats}
    for round_ in range(max(repeats.values()) + 1):
        for done, (way, times) in enumerate(repeats.items()):
            if round_ <= times and (round_ or times > 1):
                progress(round_ * len(repeats) + done, (max(repeats.values()) + 1) * len(repeats), way)
                taken = _cpu_seconds((WAYS | FURTHER)[way][0])
                seconds[way] += [taken] if round_ else []
    return {"rows": [{"way": way, "seconds": seconds[way]} for way in repeats]}


def _cpu_seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER, check=False)  # noqa: S603 - fixed words
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


EXPERIMENT = Experiment(NAME, runs, execute, exclusive=True, not_compared=("rows.*.seconds*",))
