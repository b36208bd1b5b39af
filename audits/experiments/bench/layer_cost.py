"""What one layer costs at growing length: FLOPs counted, time measured, forward and backward."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.experiments.bench._timing import seconds_of
from audits.experiments.reference import OTHER_IMPLEMENTATIONS
from audits.statistics.scaling import scaling_exponent
from hubrouter import HubRouter, ModelConfig, RouterConfig
from hubrouter.mixers.attention import CausalAttention

LENGTHS = {"quick": (256, 512, 1024, 2048, 4096, 8192), "full": (256, 512, 1024, 2048, 4096, 8192, 16384)}
WIDTH, HEADS, HUBS, K, CHUNK, BATCH = 256, 4, 8, 64, 64, 2
REPEATS = 5


def runs(options: Options) -> tuple[RunSpec, ...]:
    """The hub layer and the attention it replaces."""
    lengths = LENGTHS.get(options.tier, LENGTHS["full"])
    shape = {"d_model": WIDTH, "n_heads": HEADS, "n_hubs": HUBS, "k": K, "chunk": CHUNK, "batch": BATCH}
    config = {**shape, "lengths": list(lengths), "device": options.device}
    return tuple(
        RunSpec("layer-cost", {"layer": name, **config}, 0, f"cost of {name}") for name in ("hub", "attention")
    )


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Count and time one layer at every length."""
    name, lengths = str(spec.config["layer"]), list(spec.config["lengths"])
    layer = build(name).to(options.device)
    rows = []
    for done, n in enumerate(lengths):
        progress(done, len(lengths), f"n = {n}")
        _milliseconds(layer, n, options.device)  # warms up, and does not count
        times = sorted(_milliseconds(layer, n, options.device) for _ in range(REPEATS))
        row = {"n": n, "flops": flops(name, n), "ms_median": statistics.median(times)}
        rows.append(row | {"ms_low": times[0], "ms_high": times[-1]})
    slope = scaling_exponent(lengths, [row["ms_median"] for row in rows])
    counted = scaling_exponent(lengths, [row["flops"] for row in rows])
    return {
        "rows": rows,
        "flops_exponent": counted.slope,
        "ms_exponent": {"slope": slope.slope, "low": slope.low, "high": slope.high},
        "hubs": [{"hubs": hubs, "flops": flops(name, lengths[0], hubs)} for hubs in (8, 16, 32)],
    }


def build(name: str, hubs: int = HUBS) -> nn.Module:
    """One strictly causal layer of the given name, at the shape that is compared."""
    if name == "hub":
        return HubRouter(RouterConfig(d_model=WIDTH, n_heads=HEADS, n_hubs=hubs, k=K, chunk=CHUNK))
    return CausalAttention(ModelConfig(vocab_size=2, d_model=WIDTH, n_heads=HEADS))


def flops(name: str, n: int, hubs: int = HUBS) -> int:
    """FLOPs of forward and backward, counted by torch on tensors without storage.

    Attention is counted in its matrix form, because torch does not count the fused kernel on CPU; the same products.
    """
    with torch.device("meta"):
        layer, x = build(name, hubs), torch.empty(BATCH, n, WIDTH, requires_grad=True)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        layer(x).sum().backward()
    return int(counter.get_total_flops())


def _milliseconds(layer: nn.Module, n: int, device: str) -> float:
    x = torch.randn(BATCH, n, WIDTH, device=device, requires_grad=True)
    return 1000 * seconds_of(lambda: layer(x).sum().backward(), device)


EXPERIMENT = Experiment(
    "layer-cost",
    runs,
    execute,
    exclusive=True,
    not_hashed=OTHER_IMPLEMENTATIONS,
    not_compared=("ms_exponent.*", "rows.*.ms_*"),
)
