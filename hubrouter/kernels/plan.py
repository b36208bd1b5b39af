"""Sizes of a launch: what the kernels are compiled for, from shapes and configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# Chunks per segment, segments per block; fixed, so that a longer sequence does not change how a prefix is computed.
SPAN = 8  # our choice
SMALLEST = 16  # the smallest side of a tile that tensor cores multiply
TILE = 64  # selected tokens in a tile
PIECE = 512  # contributions to a chunk's selected tokens that one program sums (our choice)


@dataclass(frozen=True)
class Plan:
    """One launch of the layer: B rows of N tokens in G chunks, H heads of width E, M hubs, K selected tokens.

    Attributes:
        dtype: of tokens and outputs.
        own: queries read their own chunk.
        readout: tokens read the hubs.
        has_beta: hubs have gates.
        widen: multiply in float32 whatever the dtype, for Triton's interpreter, whose bfloat16 products are wrong.
    """

    batch: int
    length: int
    heads: int
    width: int
    hubs: int
    k: int
    chunk: int
    neighbours: int
    rope_base: float
    causal: bool
    has_valid: bool
    dtype: torch.dtype
    widen: bool
    own: bool = True
    readout: bool = True
    has_beta: bool = False

    @property
    def exact(self) -> torch.dtype:
        """The dtype of sums and statistics: at least float32."""
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def chunks(self) -> int:
        """G: chunks begun; for the bidirectional layer one more without tokens, which the whole sequence precedes."""
        return -(-self.length // self.chunk) + (not self.causal)

    @property
    def segments(self) -> int:
        """Segments of `SPAN` chunks."""
        return -(-self.chunks // SPAN)

    @property
    def blocks(self) -> int:
        """Blocks of `SPAN` segments."""
        return -(-self.segments // SPAN)

    @property
    def sums(self) -> int:
        """Rows that a scan keeps: one for each chunk, each segment, and each block but one."""
        return self.chunks + self.segments + self.blocks - 1

    @property
    def cuts(self) -> int:
        """Borders that cut the list of all selected tokens of a row into pieces of `PIECE`."""
        return max(0, self.chunks * self.k - 1) // PIECE

    @property
    def by_chunk(self) -> tuple[int]:
        """A program for each chunk, row and head."""
        return (self.chunks * self.batch * self.heads,)

    @property
    def by_segment(self) -> tuple[int]:
        """A program for each segment, row and head."""
        return (self.segments * self.batch * self.heads,)

    @property
    def by_block(self) -> tuple[int]:
        """A program for each block but one, row and head."""
        return ((self.blocks - 1) * self.batch * self.heads,)

    @property
    def wide(self) -> int:
        """Keys in a list of the strongest claims."""
        return padded(max(self.k, self.chunk))

    @property
    def tile(self) -> int:
        """Selected tokens read at a time."""
        return min(TILE, padded(self.k))

    def sizes(self, *names: str) -> dict[str, Any]:
        """The kernels' compile-time arguments of these names, and warps and stages of a program."""
        known = {
            "H": self.heads,
            "E": self.width,
            "M": self.hubs,
            "C": self.chunk,
            "K": self.k,
            "EP": padded(self.width),
            "HP": padded(self.width // 2),
            "MP": padded(self.hubs),
            "CP": padded(self.chunk),
            "TILE": self.tile,
            "WIDE": self.wide,
            "SPAN": SPAN,
            "PIECE": PIECE,
            "SCALE": self.width**-0.5,
            "OWN": self.own,
            "READOUT": self.readout,
            "HAS_BETA": self.has_beta,
            "HAS_VALID": self.has_valid,
            "WIDEN": self.widen,
        }
        bytes_of_tile = padded(self.chunk) * padded(self.width) * self.dtype.itemsize
        launch = {
            "num_warps": 4 if bytes_of_tile <= 64 * 64 * 2 else 8,
            "num_stages": 1 if bytes_of_tile > 2**14 else 2,
        }
        return {name: known[name] for name in names} | launch

    def lists(self, *names: str) -> dict[str, Any]:
        """As `sizes`, for kernels on lists of keys: short ones stay in one warp, whose threads need not wait."""
        return self.sizes(*names) | {"num_warps": 1 if self.wide <= 64 else 4}

    def empty(self, like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A buffer that a kernel fills; of the exact dtype where none is named."""
        return torch.empty(shape, dtype=dtype or self.exact, device=like.device)

    def rotary(self, like: Tensor, length: int | None = None) -> tuple[Tensor, Tensor]:
        """Cosine and sine of every angle up to a length (N where absent), [≥ N, E/2] each."""
        length = length or self.length
        rows = -(-length // 4096) * 4096 if length > 256 else length
        return _angles(rows, self.width // 2, self.rope_base, self.exact, like.device)


def padded(size: int) -> int:
    """The power of two to which a tile's side is padded."""
    return max(SMALLEST, 1 << (size - 1).bit_length())


@lru_cache(maxsize=8)
def _angles(rows: int, half: int, base: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """As `hubrouter.rotary` computes them; cached, because all layers and steps use the same."""
    frequency = base ** (-torch.arange(half, device=device, dtype=dtype) / half)
    angle = torch.arange(rows, device=device, dtype=dtype)[:, None] * frequency
    return angle.cos(), angle.sin()
