"""How often the significance tests reject what is true, and find what is there, at the numbers of seeds in use."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.calibration import _means, _rates, _single
from audits.experiments.calibration._case import Case, Trial
from audits.statistics.levels import ALPHA

NAME = "calibration"
DRAWS = {"quick": 4_000, "full": 40_000, "paper": 40_000}
FOUND = 4  # power is stated to a percent: a quarter of the draws do
BATCH = 1_000  # draws at once: the 1024 sign patterns of 10 seeds then take 8 MB


def all_cases() -> tuple[Case, ...]:
    """Every row."""
    return (*_means.cases(), *_rates.cases(), *_single.cases())


def runs(options: Options) -> tuple[RunSpec, ...]:
    """One run a procedure; a device plays no part."""
    draws = DRAWS[options.tier]
    names = dict.fromkeys(case.procedure for case in all_cases())
    return tuple(
        RunSpec(NAME, {"procedure": name, "draws": draws, "tier": options.tier}, 0, f"calibrate {name}")
        for name in names
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Draw data with and without an effect, again and again, and count the rejections."""
    del options
    cases = [case for case in all_cases() if case.procedure == spec.config["procedure"]]
    draws, rows = int(spec.config["draws"]), []
    for done, case in enumerate(cases):
        progress(done, len(cases), f"{case.setting}, n = {case.n}")
        rows.append(_row(case, spec.seed, draws))
    return {"alpha": ALPHA, "rows": rows}


def _row(case: Case, seed: int, draws: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, zlib.crc32(f"{case.procedure}, {case.n}, {case.setting}".encode())])
    row = {"n": case.n, "setting": case.setting, "trap": case.trap, "effect": case.effect, "draws": draws}
    row |= {"rejected": _count(case.null, rng, draws)}
    if case.found is None:
        return row
    return row | {"found": _count(case.found, rng, draws // FOUND), "found_draws": draws // FOUND}


def _count(trial: Trial, rng: np.random.Generator, draws: int) -> int:
    """Rejections in so many draws."""
    sizes = [min(BATCH, draws - start) for start in range(0, draws, BATCH)]
    return sum(int(trial(rng, size).sum()) for size in sizes)


EXPERIMENT = Experiment(NAME, runs, execute)
