"""Kernel check: the Triton kernels against a dense computation in float64, in outputs and in every gradient.

On a CUDA device the kernels run there at full sizes; elsewhere they run in Triton's interpreter at small ones.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.bench._ablations import ABLATIONS
from audits.experiments.bench._dense_hub import dense, readable, tokens
from hubrouter import HubRouter, RouterConfig

NAME = "kernel-check"
SLACK, ROUNDINGS = 2.0, 4.0  # a kernel may be this many times as inexact as dense code in its dtype, and some roundings
SWITCHES = ("council", "selection", "readout", "adaptive_hubs")
SEEDS = {"quick": 1, "full": 3, "paper": 3}


@dataclass(frozen=True)
class Case:
    """One layer and sequence."""

    length: int
    d_model: int
    n_heads: int
    n_hubs: int
    k: int
    chunk: int
    neighbours: int = 1
    batch: int = 2
    causal: bool = True
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    adaptive_hubs: bool = False


ON_GPU = (
    Case(4099, 1024, 16, 8, 64, 64),
    Case(1000, 256, 4, 8, 64, 64),
    Case(777, 512, 4, 64, 128, 128, neighbours=2),
    Case(513, 96, 3, 1, 5, 20, neighbours=0),
    Case(7, 64, 1, 3, 64, 64),
    Case(1000, 256, 4, 8, 64, 64, causal=False),
)
INTERPRETED = (
    Case(28, 64, 2, 3, 5, 3, batch=1),
    Case(23, 96, 2, 17, 17, 20, batch=1),
    Case(13, 64, 2, 3, 5, 4, batch=1, causal=False),
)
DTYPES = ("float32", "bfloat16", "float16")


def runs(options: Options) -> tuple[RunSpec, ...]:
    """Every case in every dtype, and every ablation at one size in float32; none without triton."""
    if importlib.util.find_spec("triton") is None:
        return ()
    cases, switched = (ON_GPU, ON_GPU[1]) if options.device.startswith("cuda") else (INTERPRETED, INTERPRETED[0])
    seeds = range(SEEDS[options.tier])
    asked = [(case, dtype, seed) for case in cases for dtype in DTYPES for seed in seeds]
    asked += [(replace(switched, **changed), DTYPES[0], 0) for changed in ABLATIONS.values()]
    return tuple(
        RunSpec(NAME, {**asdict(case), "dtype": dtype, "device": options.device}, seed, _label(case, dtype))
        for case, dtype, seed in asked
    )


def _label(case: Case, dtype: str) -> str:
    return ", ".join((f"kernels in {dtype} at n = {case.length}", f"width {case.d_model}", *changes(asdict(case))))


def changes(config: Mapping[str, Any]) -> list[str]:
    """What of a case's layer is not as usual, in words."""
    usual = {field.name: field.default for field in fields(Case)}
    named = [f"{name}={config[name]!r}" for name in SWITCHES if config.get(name, usual[name]) != usual[name]]
    return named if config["causal"] else ["bidirectional", *named]


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Errors of kernels and of dense code of the same dtype, and what later tokens change of earlier outputs.

    Triton interprets what is defined after it was switched on, and a worker may have loaded it before: a new process.
    """
    if options.device.startswith("cuda"):
        return check(spec, progress)
    progress(0, 1, "in a process of its own")
    asked = json.dumps({"config": spec.config, "seed": spec.seed})
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", f"import {__name__} as check; check.answer()"]
    done = subprocess.run(command, input=asked, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def answer() -> None:
    """One check, asked for on standard input, answered on standard output."""
    asked = json.load(sys.stdin)
    spec = RunSpec(NAME, asked["config"], asked["seed"])
    sys.stdout.write(json.dumps(check(spec, lambda *_: None)))


def check(spec: RunSpec, progress: Progress) -> dict[str, Any]:
    """The check itself, in this process."""
    case = Case(**{name: spec.config[name] for name in Case.__dataclass_fields__})
    dtype = getattr(torch, str(spec.config["dtype"]))
    layer, x = subject(case, dtype, spec.seed, str(spec.config["device"]))
    progress(0, 3, "kernels")
    found, again = results(layer, x), results(layer, x)
    progress(1, 3, "float64")
    allowed = readable(selection(layer, x), case.length, layer.config)
    exact = deepcopy(layer).double()
    truth = results(exact, x.double(), allowed)
    progress(2, 3, str(dtype))
    plain = results(layer, x, allowed)
    errors = {}
    for name in truth:
        scale = max(float(truth[other].abs().max()) for other in truth if _of(other) == _of(name))
        errors[name] = {of: error(part[name], truth[name], scale) for of, part in (("kernel", found), ("dense", plain))}
    return {
        "errors": errors,
        "eps": torch.finfo(dtype).eps,
        "repeats": all(torch.equal(found[name], again[name]) for name in found),
        "felt_before": change_before(layer, x) if case.causal else None,
    }


def subject(case: Case, dtype: torch.dtype, seed: int, device: str) -> tuple[HubRouter, Tensor]:
    """A layer whose scores differ enough for tokens to be distinguished, and standard normal tokens."""
    sizes = {name: value for name, value in asdict(case).items() if name not in ("length", "batch")}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        layer = HubRouter(RouterConfig(**sizes, impl="triton"))
        x = torch.randn(case.batch, case.length, case.d_model)
    with torch.no_grad():
        layer.score.head.weight.mul_(3)
        if layer.gates is not None:  # from closed to wide open
            layer.gates.level.copy_(torch.linspace(-1.2, 0, case.n_hubs))
    return layer.to(device, dtype), x.to(device, dtype)


def results(layer: HubRouter, x: Tensor, allowed: Tensor | None = None) -> dict[str, Tensor]:
    """Output, and gradients of a fixed combination of outputs; densely where the council's mask is given."""
    x = x.detach().requires_grad_()
    layer.zero_grad()
    y = layer(x) if allowed is None else dense(layer, x, allowed)
    (y * torch.linspace(-1, 1, y.numel(), device=y.device, dtype=torch.float64).view_as(y).to(y.dtype)).sum().backward()
    gradients = {name: weight.grad for name, weight in layer.named_parameters()}
    parts = {"output": y, "tokens": x.grad, **gradients}
    return {name: part.detach().clone() for name, part in parts.items() if part is not None}


def selection(layer: HubRouter, x: Tensor) -> Tensor:
    """Positions of the tokens that the kernels select, [B, G, K]."""
    from hubrouter.kernels.layer import between

    with torch.no_grad():
        return tokens(between(layer, layer.project(x), None).chosen, x.shape[1])


def _of(name: str) -> str:
    """What is measured on one scale: the parameters of a module, since a bias alone may be a sum that cancels."""
    return name.rpartition(".")[0] or name


def error(found: Tensor, truth: Tensor, scale: float) -> float:
    """The largest deviation, relative to the largest entry (to 1e-3 where all of them vanish)."""
    return float((found.double() - truth).abs().max()) / max(scale, 1e-3)


@torch.no_grad()
def change_before(layer: HubRouter, x: Tensor) -> float:
    """The largest change of an output before a cut when everything from the cut on is replaced; 0 for a causal layer.

    Projections are left out: what a matrix product of another size rounds differently is no matter of the kernels.
    """
    from hubrouter.kernels.layer import between

    qkv = layer.project(x)
    whole, worst = between(layer, qkv, None).mixed, 0.0
    chunk = layer.config.chunk
    for cut in sorted({1, chunk - 1, chunk, chunk + 1, x.shape[1] // 2, x.shape[1] - 1}):
        if 0 < cut < x.shape[1]:
            other = torch.cat([qkv[:, :cut], -3 * qkv[:, cut:]], dim=1)
            for moved in (between(layer, other, None).mixed, between(layer, qkv[:, :cut], None).mixed):
                worst = max(worst, float((moved[:, :cut] - whole[:, :cut]).abs().max()))
    return worst


def within(told: dict[str, float], eps: float) -> bool:
    """Whether a kernel is no worse than dense code of its dtype, but for some roundings."""
    return told["kernel"] <= SLACK * told["dense"] + ROUNDINGS * eps


EXPERIMENT = Experiment(NAME, runs, execute, seconds=600.0)
