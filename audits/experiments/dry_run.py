"""Every cell of a tier built at its size and trained for two steps of one sequence, without recording anything.

`python -m audits.experiments.dry_run [TIER] [PART …]` shows on a CPU that a tier meant for a GPU would start: it prints
a line for each cell of the parts named (all where none is) and exits with 1 where one failed. Cells that differ in rate
or seed alone count once. A language model that would have to be downloaded is left out, and the line says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from audits.evidence.experiment import Experiment, Options, RunSpec
from audits.experiments.language_models import distant, families, leak_dose, leak_price, retrofit, scaling, systems
from audits.experiments.language_models._arm import SIZES, TUNING, TUNING_SEED
from audits.experiments.language_models._tuning import spec_of
from audits.experiments.routing import diagnostic, hub_count

Cell = tuple[str, Callable[[], object]]  # a name, and what builds and trains it
STEPS = 2


def quiet(done: int, total: int, note: str = "") -> None:
    """No progress is shown."""
    del done, total, note


def shrunk(spec: RunSpec, **more: Any) -> RunSpec:
    """The run for two steps of one sequence, evaluated on as little as goes."""
    few = {"steps": STEPS, "batch": 1, "every": STEPS, "held_out": 8}
    windows = {"valid_tokens": spec.config.get("seq_len", 0), "tuning_tokens": spec.config.get("seq_len", 0) + 1}
    stages = [stage | {"steps": 1, "batch": 1} for stage in spec.config.get("stages", ())[-STEPS:]]
    changes = {key: v for key, v in (few | windows | {"stages": stages}).items() if key in spec.config}
    return replace(spec, config=spec.config | changes | more)


def language_models(options: Options) -> Iterator[Cell]:
    """Every arm of the studies, and the retrofit, in which each layer needs a step of its own."""
    studies = (systems, scaling, leak_dose, families)
    for arm in dict.fromkeys(cell.arm for study in studies for cell in study.study_cells(options.tier)):
        spec = spec_of(arm, TUNING, SIZES[options.tier].rates[0], TUNING_SEED, options)
        yield str(arm), partial(systems.EXPERIMENT.execute, shrunk(spec), options, quiet)
    layers = SIZES[options.tier].layers
    for spec in retrofit.runs(options)[:1]:
        yield "retrofit", partial(retrofit.execute, shrunk(spec, tuning=layers), options, quiet)


def once(experiment: Experiment, options: Options, *names: str) -> Iterator[Cell]:
    """The runs of an experiment that differ in what is named."""
    seen = {tuple(spec.config[name] for name in names): spec for spec in experiment.runs(options)}
    for key, spec in seen.items():
        yield (
            f"{experiment.name}: {', '.join(map(str, key))}",
            partial(experiment.execute, shrunk(spec), options, quiet),
        )


def routing(options: Options) -> Iterator[Cell]:
    """Every mechanism, but those of a model that has to be downloaded."""
    for name, run in once(diagnostic.EXPERIMENT, options, "name", "backbone"):
        yield name, (lambda: "left out: needs a download") if ", hf:" in name else run


PARTS: dict[str, Callable[[Options], Iterator[Cell]]] = {
    "language-models": language_models,
    "distant": lambda options: once(distant.EXPERIMENT, options, "task", "arm"),
    "leak-price": lambda options: once(leak_price.EXPERIMENT, options, "twin"),
    "routing": routing,
    "hub-count": lambda options: once(hub_count.EXPERIMENT, options, "hubs", "arm"),
}


def main(arguments: list[str]) -> int:
    """Build and train every cell; 1 where one failed."""
    tier, *wanted = arguments or ["paper"]
    failed = 0
    for part in wanted or PARTS:
        for name, run in PARTS[part](Options(tier)):
            begun = time.perf_counter()
            try:
                said = run()
            except Exception as problem:
                said, failed = f"FAILED: {type(problem).__name__}: {problem}", failed + 1
            note = said if isinstance(said, str) else "built, two steps"
            sys.stdout.write(f"{name}: {note} ({time.perf_counter() - begun:.0f} s)\n")
            sys.stdout.flush()
    sys.stdout.write(f"{failed} cells failed\n")
    return min(failed, 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
