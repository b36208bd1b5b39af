"""Rotary position embedding (Su et al., arXiv:2104.09864): attention scores then depend on relative position."""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter.shapes import Float


def rotate(x: Float[Tensor, "B H N E"], start: int, base: float) -> Float[Tensor, "B H N E"]:
    """Rotate each pair (i, i + E/2) of features by its position times a frequency.

    Args:
        x: queries or keys at positions start, start + 1, …
        start: absolute position of the first token; the frequencies never depend on the length.
        base: wavelength base.
    """
    half = x.shape[-1] // 2
    exact = torch.promote_types(x.dtype, torch.float32)
    frequency = base ** (-torch.arange(half, device=x.device, dtype=exact) / half)
    position = torch.arange(start, start + x.shape[-2], device=x.device, dtype=exact)
    angle = position[:, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
