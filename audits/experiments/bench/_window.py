"""Causal attention over a sliding window through FlexAttention, the baseline that is linear without any routing."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from hubrouter.config import ConfigError
from hubrouter.rotary import rotate, rotation

BLOCK = 128  # FlexAttention's own block size


class WindowAttention(nn.Module):
    """Softmax attention to the last W positions, the own one included; same projections as `CausalAttention`.

    Args:
        width: of the tokens, D.
        n_heads: heads.
        window: W.
        compiled: through torch.compile, as it is meant to be used; or as plain operations, whose cost is quadratic.
    """

    def __init__(self, width: int, n_heads: int, window: int, *, compiled: bool = True) -> None:
        super().__init__()
        self.n_heads, self.window = n_heads, window
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.mix = torch.compile(flex_attention, dynamic=False, fullgraph=True) if compiled else flex_attention

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to [B, N, D].

        Raises:
            ConfigError: a gradient is wanted on a CPU.
        """
        if torch.is_grad_enabled() and x.device.type == "cpu":
            raise ConfigError("FlexAttention has no backward pass on a CPU")
        q, k, v = self.project(x).reshape(*x.shape[:2], 3, self.n_heads, -1).unbind(2)
        angles = rotation(torch.arange(x.shape[1], device=x.device), q.shape[-1], 10_000.0, q.dtype)
        q, k, v = (part.transpose(1, 2) for part in (rotate(q, angles), rotate(k, angles), v))
        mixed = self.mix(q, k, v, block_mask=block_mask(x.shape[1], self.window, str(x.device)))
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output


@cache
def block_mask(n: int, window: int, device: str) -> BlockMask:
    """Which blocks of keys a block of queries reads; written down, because finding out would take n x n numbers."""
    rows = -(-n // BLOCK)
    last = torch.arange(rows, dtype=torch.int32, device=device)
    first = ((last * BLOCK - window + 1) // BLOCK).clamp(min=0)
    count = last - first + 1
    # Only the first `count` entries of a row are read; the others only have to be there.
    reads = first[:, None] + torch.arange(rows, dtype=torch.int32, device=device)
    reads = reads.clamp(max=rows - 1)

    def within(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return BlockMask.from_kv_blocks(
        count[None, None], reads[None, None], BLOCK_SIZE=BLOCK, mask_mod=within, seq_lengths=(n, n)
    )
