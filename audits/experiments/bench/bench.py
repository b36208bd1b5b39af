"""The bench: HubRouter, attention and other layers, side by side in one run, with the machine's ceilings.

No claim needs it, so `claims` never runs it; `hubrouter-audit bench` does, and claims read what it recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.machine import environment
from audits.experiments.bench._admission import Admission, Admitted, Limits
from audits.experiments.bench._ceilings import ceilings
from audits.experiments.bench._floor import PASSES, Shape, work
from audits.experiments.bench._layers import entries
from audits.experiments.bench._steps import Workshop
from audits.experiments.bench._timing import in_turns

NAME = "bench"
TRAINING = "forward+backward"
BASE = ("attention", "projections")  # layers that every run needs: what is divided by, and what is taken off
GIGABYTE = 1e9


@dataclass(frozen=True)
class Size:
    """One tier: a shape, the lengths it is measured at, and what a run may take; `half` are bfloat16's lengths."""

    shape: Shape
    lengths: tuple[int, ...]
    limits: Limits
    half: tuple[int, ...] = ()


HALF_LAYERS = ("attention/sdpa", "projections/linear", "hub/reference")  # of which bfloat16 is measured, in training
LENGTHS = tuple(2**power for power in range(8, 17))  # 256 to 65536
SIZES = {
    "quick": Size(
        Shape(64, 4, 8, 64, 64, 2, "float32"), LENGTHS[:4], Limits(0.5, 5.0, 2 * GIGABYTE, 5, compiles=False)
    ),
    "full": Size(
        Shape(256, 4, 8, 64, 64, 2, "float32"),
        LENGTHS,
        Limits(20.0, 180.0, 8 * GIGABYTE, 5, compiles=True),
        half=(1024, 4096, 8192),
    ),
    # On a GPU, eight minutes in all; fewer lengths, because every layer that is compiled is compiled at each of them.
    "paper": Size(
        Shape(1024, 16, 8, 64, 64, 2, "bfloat16"),
        tuple(n for n in LENGTHS if n not in (512, 2048)),
        Limits(1.0, 20.0, 1e15, 9, compiles=True),
    ),
}


def runs(options: Options) -> tuple[RunSpec, ...]:
    """All layers."""
    return runs_of(options, ())


def runs_of(options: Options, layers: Sequence[str]) -> tuple[RunSpec, ...]:
    """One run a pass and length; of the named layers, or all, and always of those in `BASE`."""
    size, device = SIZES[options.tier], options.device
    known = dict.fromkeys(entry.name for entry in entries(size.shape, device))
    chosen = [name for name in known if not layers or name.partition("/")[0] in (*layers, *BASE)]
    shared = {"tier": options.tier, "machine": machine_name(environment(device), device), "device": device}
    config = {**shared, **asdict(size.shape), **asdict(size.limits), "layers": chosen}
    half = config | {"dtype": "bfloat16", "layers": [name for name in chosen if name in HALF_LAYERS]}
    whole = tuple(
        RunSpec(NAME, {**config, "pass": passes, "n": n}, 0, f"bench: {passes} at n = {n}")
        for passes in sorted(PASSES, key=TRAINING.__ne__)  # first what most is to be known of
        for n in size.lengths
    )
    return whole + tuple(
        RunSpec(NAME, {**half, "pass": TRAINING, "n": n}, 0, f"bench: {TRAINING} in bfloat16 at n = {n}")
        for n in size.half
    )


def machine_name(described: dict[str, str], device: str) -> str:
    """A name for a file: the GPU's, or the processor's with its number of cores."""
    processor = f"{described['cpu']} {described['cores']} cores"
    words = described["device"] if device.startswith("cuda") else processor
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Time every layer at one length in turns, and the machine's ceilings with them."""
    config, device = spec.config, options.device
    shape, limits = shape_of(config), limits_of(config)
    if limits.compiles:
        ready_to_compile()
    n, passes = int(config["n"]), str(config["pass"])
    chosen = [entry for entry in entries(shape, device) if entry.name in config["layers"]]
    admission = Admission(limits, Workshop(shape, passes, device).step, n, grows=passes != "decode")
    decided = []
    for done, entry in enumerate(chosen):
        progress(done, len(chosen) + limits.rounds + 1, f"trying {entry.name}")
        decided.append(admission.decide(entry))
    return measured(decided, shape, limits.rounds, (n, passes, device), progress)


def ready_to_compile() -> None:
    """Forget what earlier runs compiled, which counts towards a limit beyond which nothing is compiled any more.

    No processes that compile in the background: they would outlive the run, or take time from it.
    """
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch.compiler.reset()


def measured(
    decided: Sequence[Admitted], shape: Shape, rounds: int, at: tuple[int, str, str], progress: Progress
) -> dict[str, Any]:
    """The rounds of all admitted layers; `at` is length, pass and device."""
    n, passes, device = at
    tops = ceilings(device, shape.dtype)
    steps = {index: item.step.seconds for index, item in enumerate(decided) if item.step is not None}
    limits = {top.name: top.step.seconds for top in tops}
    timed = in_turns({**steps, **limits}, rounds, progress)
    rows = [row(item, timed.get(index, ()), shape, n, passes) for index, item in enumerate(decided)]
    return {
        "rows": rows,
        "ceilings": {top.name: top.told(timed[top.name]) for top in tops},
        "threads": torch.get_num_threads(),
    }


def row(item: Admitted, seconds: Sequence[float], shape: Shape, n: int, passes: str) -> dict[str, Any]:
    """One layer in the ledger: seconds of every counted step (decoding: of a token), and what they are held against."""
    entry, tokens = item.entry, 1 if item.step is None else item.step.tokens
    needed = work(entry.demand, shape, n, passes) if entry.demand is not None else None
    return {
        "layer": entry.layer,
        "impl": entry.impl,
        "backend": entry.backend,
        "not_run": item.not_run,
        "predicted_s": item.predicted,
        "seconds": [taken / tokens for taken in seconds],
        "peak_bytes": item.peak,
        "flops": None if needed is None else needed.flops,
        "bytes": None if needed is None else needed.bytes,
        "core_bytes": None if needed is None else needed.core_bytes,
    }


def shape_of(config: dict[str, Any]) -> Shape:
    """The shape in a run's configuration."""
    return Shape(**{name: config[name] for name in Shape.__dataclass_fields__})


def limits_of(config: dict[str, Any]) -> Limits:
    """The limits in a run's configuration."""
    return Limits(**{name: config[name] for name in Limits.__dataclass_fields__})


def failed_result(why: str) -> dict[str, Any]:
    """What is recorded of a run that was ended: no layer of it has a time."""
    return {"rows": [], "ceilings": {}, "threads": 0, "lost": why}


MEASURED = ("ceilings.*", "rows.*.seconds*", "rows.*.predicted_s", "rows.*.peak_bytes", "rows.*.not_run")
EXPERIMENT = Experiment(
    NAME, runs, execute, exclusive=True, seconds=1200.0, on_failure=failed_result, not_compared=MEASURED
)
