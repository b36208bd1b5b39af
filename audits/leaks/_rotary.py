"""Rotary position embedding for the planted leaks that break it."""

from __future__ import annotations

import torch
from torch import Tensor

from audits.leaks._parts import CausalAttention

BASE = 100.0  # our choice: with so few tokens the usual 10000 would leave most channels unrotated


def rotate(x: Tensor, start: int, base: float = BASE) -> Tensor:
    """Rotate pairs of channels by position times frequency; x is [B, N, D] and its first position is `start`."""
    half = x.shape[-1] // 2
    position = torch.arange(start, start + x.shape[1], dtype=x.dtype, device=x.device)
    exponent = torch.arange(half, dtype=x.dtype, device=x.device) / half
    angle = position[:, None] * base**-exponent
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()), dim=-1)


class RotaryAttention(CausalAttention):
    """Causal attention with rotary positions; leaks override the base."""

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scaled dot products of rotated queries and keys, [B, N, N]."""
        base = self.base(queries.shape[1])
        return super().score(rotate(queries, 0, base), rotate(keys, 0, base))

    def base(self, length: int) -> float:  # noqa: ARG002 - leaks make it depend on the length
        """The base of the frequencies: the same for every length."""
        return BASE


def stretched_base(length: int, trained: int) -> float:
    """The base that stretches the rotation to `length` once it exceeds `trained` positions."""
    return BASE * max(1.0, length / trained) ** 2
