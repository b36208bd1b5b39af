"""`matmul`: the matrix form of state space duality (Mamba-2, arXiv:2405.21060, section 6), for one rate a head.

Within a chunk the scan is a product with a lower triangular matrix, between chunks a short scan: nearly all work is
matrix products, which makes this the optimised tier in torch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.config import ConfigError
from hubrouter.selective_scan.borders import Affine, at_borders
from hubrouter.selective_scan.recurrence import ScanInputs, Scanned


def matmul(inputs: ScanInputs, initial: Tensor, chunk: int) -> Scanned:
    """The scan in chunks of at most `chunk` tokens.

    Raises:
        ConfigError: there is a rate for each state, as in Mamba-1, so the decay between two tokens is not one number.
    """
    if inputs.a.shape[1] != 1:
        raise ConfigError("scan='matmul' needs one decay a head (Mamba-2): set ssm_heads, or choose scan='chunked'")
    (batch, length, width), heads = inputs.x.shape, inputs.delta.shape[2]
    chunk = min(chunk, length)
    x, delta, b, c = (_chunks(tensor, chunk) for tensor in (inputs.x, inputs.delta, inputs.b, inputs.c))
    u = x.unflatten(-1, (heads, -1)).permute(0, 1, 3, 2, 4) * delta.mT[..., None]  # [B, G, H, C, E]
    rate = (delta * inputs.a[:, 0]).mT  # [B, G, H, C]
    between = _decay_between(rate)
    own = (c @ b.mT)[:, :, None] * between @ u
    added = (u * between[..., -1, :, None]).mT @ b[:, :, None]  # [B, G, H, E, S]
    whole = Affine(rate.sum(-1).exp()[..., None, None], added)
    states = at_borders(whole, initial.unflatten(1, (heads, -1)))
    earlier = (c[:, :, None] @ states[:, :-1].mT) * rate.cumsum(-1).exp()[..., None]
    y = (own + earlier).permute(0, 1, 3, 2, 4).reshape(batch, -1, width)
    return Scanned(y[:, :length], states[:, -1].flatten(1, 2))


def _chunks(tensor: Tensor, chunk: int) -> Tensor:
    """[B, N, X] to [B, G, C, X], with zeros after the last token."""
    tensor = F.pad(tensor, (0, 0, 0, -tensor.shape[1] % chunk))
    chunks: Tensor = tensor.unflatten(1, (-1, chunk))
    return chunks


def _decay_between(rate: Tensor) -> Tensor:
    """Decays, exp of the sum of rates after position j up to i, 0 where i < j: [..., C] -> [..., C (i), C (j)].

    Each sum is computed separately. Differences of running sums would cancel: a large delta anywhere in the chunk would
    make the decays after it inaccurate.
    """
    size = rate.shape[-1]
    lower = torch.ones(size, size, dtype=torch.bool, device=rate.device).tril()
    sums = rate[..., :, None].expand(*rate.shape, size).masked_fill(~lower.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~lower, float("-inf")).exp()
