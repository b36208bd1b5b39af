"""Prefix sums of k v^T with a decay, in chunks: the core of linear attention, RWKV's decay and Mamba-2 alike.

Within a chunk the sums are a product with a lower triangular matrix, between chunks a short scan: nearly all work is
matrix products (state space duality, arXiv:2405.21060, section 6). A later token enters an earlier output with a weight
of exactly 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.borders import Affine, at_borders
from hubrouter.shapes import Float


def decayed_sums(
    q: Float[Tensor, "B N J F"],
    k: Float[Tensor, "B N J F"],
    v: Float[Tensor, "B N H E"],
    log_decay: Float[Tensor, "R N H"],
    initial: Float[Tensor, "B H F E"],
    chunk: int,
) -> tuple[Float[Tensor, "B N H E"], Float[Tensor, "B H F E"]]:
    """Outputs q_t S_t of all N >= 1 tokens and the last S, where S_t = exp(log_decay_t) S_(t-1) + k_t v_t^T.

    Args:
        q: what reads the sums; J = H, or 1 where all heads share it.
        k: features of the tokens, as `q`.
        v: values.
        log_decay: at most 0, the same for all of S; R = B, or 1 where all rows share it.
        initial: S before the first token.
        chunk: tokens a chunk, at most; it changes speed and rounding only.
    """
    length = v.shape[1]
    chunk = min(chunk, length)
    q, k, v, rate = (_chunks(tensor, chunk) for tensor in (q, k, v, log_decay[..., None]))
    rate = rate[..., 0]  # [R, G, H, C]
    between = _decay_between(rate)
    own = (q @ k.mT) * between @ v
    added = k.mT @ (v * between[..., -1, :, None])
    sums = at_borders(Affine(rate.sum(-1).exp()[..., None, None], added), initial)
    earlier = (q @ sums[:, :-1]) * rate.cumsum(-1).exp()[..., None]
    return (own + earlier).transpose(2, 3).flatten(1, 2)[:, :length], sums[:, -1].clone()


def _chunks(tensor: Tensor, chunk: int) -> Tensor:
    """[B, N, H, X] to [B, G, H, C, X], with zeros after the last token."""
    tensor = F.pad(tensor, (0, 0, 0, 0, 0, -tensor.shape[1] % chunk))
    chunks: Tensor = tensor.unflatten(1, (-1, chunk)).transpose(2, 3)
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
