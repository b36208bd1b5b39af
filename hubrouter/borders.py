"""The state before each chunk of a linear recurrence, from the map that each chunk applies to a state."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hubrouter.scan import inclusive_scan


class Affine(NamedTuple):
    """The map state -> decay * state + added of each of G chunks: [B, G, ...], of equal or broadcastable shapes."""

    decay: Tensor
    added: Tensor


def at_borders(maps: Affine, first: Tensor) -> Tensor:
    """The states at all borders, [B, G + 1, ...], where `first` [B, ...] enters the first chunk."""
    start = Affine(torch.zeros_like(maps.decay[:, :1]), first[:, None])
    joined = Affine._make(torch.cat(pair, dim=1) for pair in zip(start, maps, strict=True))
    return inclusive_scan(_compose, joined).added


def _compose(earlier: Affine, later: Affine) -> Affine:
    """Both maps one after the other; associative."""
    return Affine(earlier.decay * later.decay, later.added + later.decay * earlier.added)
