"""`selective_scan`: one interface to all implementations, chosen by name and never replaced silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hubrouter.config import ConfigError
from hubrouter.selective_scan.chunked import chunked
from hubrouter.selective_scan.fused import fused
from hubrouter.selective_scan.matmul import matmul
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned
from hubrouter.selective_scan.sequential import loop, unbind
from hubrouter.shapes import Float

# Each takes inputs in at least float32, the first state (None: zero), and the chunk size.
IMPLEMENTATIONS: Mapping[str, Callable[[ScanInputs, Tensor | None, int], Scanned]] = {
    "loop": lambda inputs, initial, _: loop(inputs.per_channel(), inputs.first(initial)),
    "unbind": lambda inputs, initial, _: unbind(inputs.per_channel(), inputs.first(initial)),
    "chunked": lambda inputs, initial, chunk: chunked(inputs.per_channel(), inputs.first(initial), chunk),
    "matmul": lambda inputs, initial, chunk: matmul(inputs, inputs.first(initial), chunk),
    "fused": fused,
}


def selective_scan(
    inputs: ScanInputs, initial: Float[Tensor, "B I S"] | None = None, *, impl: str = "chunked", chunk: int = 64
) -> Scanned:
    """Scan N >= 1 tokens from an initial state (zero by default).

    Args:
        inputs: tokens and rates.
        initial: the state before the first token.
        impl: `loop` or `unbind` (token by token), `chunked` (torch, any device), `matmul` (torch, one rate a head
            only), `fused` (mamba-ssm's kernels, CUDA only).
        chunk: tokens a chunk, for the implementations that have chunks.

    Raises:
        ConfigError: `impl` is unknown, or cannot compute this scan here.
    """
    if impl not in IMPLEMENTATIONS:
        raise ConfigError(f"scan={impl!r} is unknown; known are {sorted(IMPLEMENTATIONS)}")
    exact = inputs.exact()
    first = None if initial is None else initial.to(exact.x.dtype)
    with torch.autocast(exact.x.device.type, enabled=False):  # its matrix products would undo `exact`
        y, state = IMPLEMENTATIONS[impl](exact, first, chunk)
    return Scanned(y.to(inputs.x.dtype), state)
