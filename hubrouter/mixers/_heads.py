"""What attention and its approximations share: projections to heads and back, rotary embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.config import ModelConfig
from hubrouter.rotary import rotate, rotation
from hubrouter.shapes import Float


class RotaryHeads(nn.Module):
    """Queries, keys and values of H heads from tokens, and tokens from what the heads have mixed; no bias."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.rope_base = config.n_heads, config.rope_base
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)

    def heads(
        self, x: Float[Tensor, "B N D"], start: int
    ) -> tuple[Float[Tensor, "B H N E"], Float[Tensor, "B H N E"], Float[Tensor, "B H N E"]]:
        """Queries and keys rotated from position `start` on, and values."""
        q, k, v = self.project(x).reshape(*x.shape[:2], 3, self.n_heads, -1).unbind(2)
        position = torch.arange(start, start + x.shape[1], device=x.device)
        angles = rotation(position, q.shape[-1], self.rope_base, q.dtype)
        return rotate(q, angles).transpose(1, 2), rotate(k, angles).transpose(1, 2), v.transpose(1, 2)

    def _merge(self, mixed: Float[Tensor, "B H N E"]) -> Float[Tensor, "B N D"]:
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output
