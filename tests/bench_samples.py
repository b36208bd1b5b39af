"""Records of a bench that nobody ran: seconds are given, so that what is made of them can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audits.claims.hubrouter._targets import CPU_SHAPE, GPU_SHAPE
from audits.evidence.ledger import Record

CPU = {"cpu": "A processor", "cores": "2", "device": "cpu", "python": "3.11", "torch": "2"}
H200 = {**CPU, "device": "NVIDIA H200"}
JITTER = (1.0, 1.02, 0.98)
Seconds = float | Sequence[float] | str  # a median, every round, or why it was not run

SETTINGS: Mapping[str, dict[str, Any]] = {
    "cpu": {**CPU_SHAPE, "machine": "a-processor-2-cores", "device": "cpu", "tier": "full"},
    "cuda": {**CPU_SHAPE, **GPU_SHAPE, "n_heads": 16, "machine": "nvidia-h200", "device": "cuda", "tier": "paper"},
}


def row(name: str, seconds: Seconds, **more: Any) -> dict[str, Any]:
    """A row of the ledger; `layer/impl` or `layer/impl/backend`."""
    layer, impl, backend = (*name.split("/"), "")[:3]
    plain = {"layer": layer, "impl": impl, "backend": backend, "peak_bytes": 1000, "predicted_s": None}
    work = {"flops": 2e9, "bytes": 1e8, "core_bytes": None}
    if isinstance(seconds, str):
        return {**plain, **work, "peak_bytes": None, "seconds": [], "not_run": seconds, **more}
    rounds = [seconds * j for j in JITTER] if isinstance(seconds, float) else list(seconds)
    return {**plain, **work, "seconds": rounds, "not_run": None, **more}


def record(
    n: int,
    rows: Sequence[dict[str, Any]],
    *,
    passes: str = "forward+backward",
    device: str = "cpu",
    code: str = "c0de",
    **changed: Any,
) -> Record:
    """A run whose ceilings are 100 GFLOP/s and 10 GB/s."""
    layers = list(dict.fromkeys(f"{row['layer']}/{row['impl']}" for row in rows))
    config = {**SETTINGS[device], "pass": passes, "n": n, "layers": layers, **changed}
    tops = {"copy": {"amount": 1e9, "seconds": [0.1, 0.2]}, "matmul": {"amount": 1e9, "seconds": [0.03, 0.01]}}
    result = {"rows": list(rows), "ceilings": tops, "threads": 1}
    return Record("bench", config, 0, result, CPU if device == "cpu" else H200, 1.0, code)


def training(ratios: Mapping[int, float], *, device: str = "cpu", peak: int = 500) -> tuple[Record, ...]:
    """Forward and backward at every length, where the hub layer takes so many times as long as attention."""
    return tuple(
        record(
            n,
            [
                row("attention/sdpa/flash", 1e-6 * n * n),
                row("hub/reference", [1e-6 * n * n * ratio] * 3, peak_bytes=peak),
            ],
            device=device,
        )
        for n, ratio in ratios.items()
    )


def decoding(times: Mapping[int, float], device: str = "cpu") -> tuple[Record, ...]:
    """A decode step of the hub layer at every position, in seconds a token."""
    return tuple(
        record(n, [row("attention/sdpa/flash", 1e-3), row("hub/reference", taken)], passes="decode", device=device)
        for n, taken in times.items()
    )
