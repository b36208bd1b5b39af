"""`matmul`: the matrix form of state space duality (Mamba-2, arXiv:2405.21060, section 6), for one rate a head.

Nearly all work is matrix products, which makes this the optimised tier in torch.
"""

from __future__ import annotations

from torch import Tensor

from hubrouter.config import ConfigError
from hubrouter.decayed_sums import decayed_sums
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned


def matmul(inputs: ScanInputs, initial: Tensor, chunk: int) -> Scanned:
    """The scan in chunks of at most `chunk` tokens.

    Raises:
        ConfigError: there is a rate for each state, as in Mamba-1, so the decay between two tokens is not one number.
    """
    if inputs.a.shape[1] != 1:
        raise ConfigError("scan='matmul' needs one decay a head (Mamba-2): set ssm_heads, or choose scan='chunked'")
    heads, delta = inputs.delta.shape[2], inputs.delta
    u = inputs.x.unflatten(2, (heads, -1)) * delta[..., None]
    first = initial.unflatten(1, (heads, -1)).mT
    shared = (inputs.c[:, :, None], inputs.b[:, :, None])  # by all heads
    y, state = decayed_sums(*shared, u, delta * inputs.a[:, 0], first, chunk)
    return Scanned(y.flatten(2), state.mT.flatten(1, 2))
