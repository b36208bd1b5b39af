"""Rotary position embedding (Su et al., arXiv:2104.09864): attention scores then depend on relative position."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hubrouter.shapes import Float, Int


class Rotation(NamedTuple):
    """The rotation of features at some positions; computed once for queries and keys."""

    cos: Float[Tensor, "*N 1 E"]
    sin: Float[Tensor, "*N 1 E"]

    def after(self, first: int) -> Rotation:
        """Of a rotation at consecutive positions, those from a later one on."""
        return Rotation(self.cos[first:], self.sin[first:])

    def chunks(self, groups: int, size: int, dtype: torch.dtype) -> Rotation:
        """Of a rotation at consecutive positions, the first G chunks of C tokens: [G, C, 1, E]."""
        return Rotation(*(part[: groups * size].unflatten(0, (groups, size)).to(dtype) for part in self))

    def last(self, length: int) -> Rotation:
        """The rotation at the last positions only."""
        return Rotation(self.cos[..., -length:, :, :], self.sin[..., -length:, :, :])


def rotation(position: Int[Tensor, "*N"], width: int, base: float, dtype: torch.dtype) -> Rotation:
    """The rotation of each pair (i, i + E/2) of features, by the position times a frequency.

    Args:
        position: absolute positions; the frequencies never depend on the length.
        width: head width E.
        base: wavelength base.
        dtype: of the features.
    """
    half, exact = width // 2, torch.promote_types(dtype, torch.float32)
    frequency = base ** (-torch.arange(half, device=position.device, dtype=exact) / half)
    angle = position[..., None, None] * frequency
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    return Rotation(torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1))


def rotate(x: Float[Tensor, "B *N H E"], by: Rotation) -> Float[Tensor, "B *N H E"]:
    """Queries or keys with each pair (a, b) rotated to (a cos - b sin, b cos + a sin)."""
    swapped = x.unflatten(-1, (2, -1)).flip(-2).flatten(-2)
    return (x * by.cos).addcmul_(swapped, by.sin)
