"""`fused`: mamba-ssm's CUDA kernels, the optional extra `[mamba]`. Tests check the arguments they receive."""

from __future__ import annotations

import importlib
from typing import Any, cast

import torch
from torch import Tensor

from hubrouter.config import ConfigError
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned

DEVICE = "cuda"


def fused(inputs: ScanInputs, initial: Tensor | None, chunk: int) -> Scanned:
    """The scan by `selective_scan_fn` (a rate for each state) or `mamba_chunk_scan_combined` (one rate a head).

    Raises:
        ConfigError: mamba-ssm is not installed, or the tensors are not on a CUDA device.
    """
    if inputs.a.shape[1] == 1:
        return _one_rate_a_head(inputs, initial, chunk)
    return _a_rate_for_each_state(inputs, initial)


def _kernel(module: str, name: str, x: Tensor) -> Any:
    """A function of mamba-ssm, if it is installed and supports the device of x."""
    try:
        kernel = getattr(importlib.import_module(f"mamba_ssm.ops.{module}"), name)
    except ImportError as missing:
        raise ConfigError(
            f"scan='fused' needs mamba-ssm ({missing}): pip install 'hubrouter-audit[mamba]', or choose scan='chunked'"
        ) from missing
    if x.device.type != DEVICE:
        raise ConfigError(f"scan='fused' needs a {DEVICE} device, not {x.device.type!r}: choose scan='chunked'")
    return kernel


def _a_rate_for_each_state(inputs: ScanInputs, initial: Tensor | None) -> Scanned:
    scan = _kernel("selective_scan_interface", "selective_scan_fn", inputs.x)
    inputs = inputs.per_channel()
    x, delta, b, c = (t.mT.contiguous() for t in (inputs.x, inputs.delta, inputs.b, inputs.c))
    y, state = scan(x, delta, inputs.a.contiguous(), b, c, return_last_state=True)
    y, state = y.mT, cast("Any", _NotDifferentiable).apply(state)
    if initial is None:
        return Scanned(y, state)
    # The kernel starts from zero, but the scan is linear in its initial state, whose contribution is added here.
    contribution = (inputs.delta.cumsum(1)[..., None] * inputs.a).exp() * initial[:, None]
    return Scanned(y + (contribution @ inputs.c[..., None])[..., 0], state + contribution[:, -1])


def _one_rate_a_head(inputs: ScanInputs, initial: Tensor | None, chunk: int) -> Scanned:
    scan = _kernel("triton.ssd_combined", "mamba_chunk_scan_combined", inputs.x)
    heads = inputs.delta.shape[2]
    first = None if initial is None else initial.unflatten(1, (heads, -1)).contiguous()
    y, state = scan(
        inputs.x.unflatten(2, (heads, -1)).contiguous(),
        inputs.delta.contiguous(),
        inputs.a[:, 0].contiguous(),
        inputs.b[:, :, None].contiguous(),
        inputs.c[:, :, None].contiguous(),
        chunk,
        initial_states=first,
        return_final_states=True,
    )
    return Scanned(y.flatten(2), state.flatten(1, 2))


class _NotDifferentiable(torch.autograd.Function):
    """selective_scan_fn leaves its last state out of the gradient; a wrong gradient must be an error."""

    @staticmethod
    def forward(ctx: Any, state: Tensor) -> Tensor:  # noqa: ARG004 # torch passes it
        """The same state."""
        return state.view_as(state)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 # torch passes them
        """Raise ConfigError."""
        raise ConfigError("mamba-ssm does not differentiate the last state: choose scan='chunked' to train on a stream")
