"""What planted leaks under contracts share.

Axes: B (batch), N (slots), D (width), V (vocabulary).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from audits.leaks._parts import VOCAB, WIDTH, running_mean, seeded

__all__ = ["VOCAB", "WIDTH", "delayed", "running_mean", "seeded"]


def delayed(x: Tensor, slots: int = 1) -> Tensor:
    """The sequence [B, N, D] so many slots later, zeros first."""
    return F.pad(x, (0, 0, slots, 0))[:, : x.shape[1]]
