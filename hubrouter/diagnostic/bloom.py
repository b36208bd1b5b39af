"""A Bloom filter (Bloom, 1970) over token ids, vectorised: "no" is certain, "yes" may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hubrouter.shapes import Bool, Int

MULTIPLIERS = (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)  # odd 32-bit constants of well-known hashes


@dataclass(frozen=True)
class BloomFilter:
    """Filters of `bits` bits with `hashes` hash functions; the paper prints neither, so these are our choice.

    Raises:
        ValueError: no bits, or more hash functions than there are.
    """

    bits: int = 64
    hashes: int = 2

    def __post_init__(self) -> None:
        if self.bits < 1 or not 1 <= self.hashes <= len(MULTIPLIERS):
            raise ValueError(f"need bits >= 1 and 1 <= hashes <= {len(MULTIPLIERS)}, got {self.bits}, {self.hashes}")

    def of(self, tokens: Int[Tensor, "B T"]) -> Bool[Tensor, "B W"]:
        """One filter per row, which contains all tokens of the row."""
        bits_set = torch.zeros(len(tokens), self.bits, dtype=torch.bool, device=tokens.device)
        return bits_set.scatter_(1, self._places(tokens).flatten(1), True)

    def contains(self, held: Bool[Tensor, "B W"], tokens: Int[Tensor, "B N"]) -> Bool[Tensor, "B N"]:
        """Where a row's filter may contain a token."""
        positions = self._places(tokens)
        return held.gather(1, positions.flatten(1)).view(positions.shape).all(-1)

    def _places(self, tokens: Tensor) -> Int[Tensor, "B N S"]:
        """The bits of each token: the upper half of its product with an odd constant, modulo the size."""
        factor = torch.tensor(MULTIPLIERS[: self.hashes], device=tokens.device)
        mixed = ((tokens[..., None] + 1) * factor) & 0xFFFFFFFF
        return (mixed >> 11) % self.bits
