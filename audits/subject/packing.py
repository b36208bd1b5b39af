"""Documents packed end to end in one row, and the arguments by which models are told where they begin.

Axes: B (rows), N (tokens of the row), D (documents).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

POSITIONS = "position_ids"
MASK = "attention_mask"


@dataclass(frozen=True)
class Packing:
    """The lengths of the documents of a row, in tokens."""

    lengths: tuple[int, ...]

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First position and end of every document."""
        return tuple(pairwise((0, *accumulate(self.lengths))))

    def document_of(self, position: int) -> int:
        """The number of the document that a position belongs to."""
        return next(number for number, (_, stop) in enumerate(self.spans) if position < stop)

    @property
    def row(self) -> str:
        """As it is written in a report: "documents of 37, 22 and 37 tokens"."""
        *some, last = (str(length) for length in self.lengths)
        return f"documents of {', '.join(some)} and {last} tokens" if some else f"one document of {last} tokens"


def packings(length: int) -> tuple[Packing, ...]:
    """The rows to try: uneven borders, a border on the edges of chunks, and a document of a single token.

    Chunks are powers of two as a rule: the border in the second row is a multiple of the largest that fits three times.
    """
    first, second = max(1, length * 3 // 8) | 1, max(1, length // 4 - 2)
    power = 1 << max(0, (length // 3).bit_length() - 1)
    border = length - 1 - (length - 1) % power
    tried = [
        (first, second, length - first - second),
        (border, length - border),
        (length // 2 + 1, 1, length - length // 2 - 2),
    ]
    fitting = [Packing(lengths) for lengths in tried if min(lengths) >= 1]
    return tuple(dict.fromkeys(fitting)) or (Packing((1, length - 1)),)


@dataclass(frozen=True)
class Told:
    """How a packing is told to a model: called with its inputs, the keyword arguments that go with them.

    `additive`: a mask of 0 and minus infinity in the model's dtype in place of a boolean one (True for seen).
    """

    packing: Packing
    names: tuple[str, ...]
    additive: bool = False

    def __call__(self, inputs: Tensor, dtype: torch.dtype) -> dict[str, Any]:
        """The arguments for inputs [B, N, ...] of the packing's length."""
        made = {name: ARGUMENTS[name](self.packing, inputs) for name in self.names}
        if self.additive and MASK in made:
            hidden = torch.zeros(made[MASK].shape, dtype=dtype, device=inputs.device)
            made[MASK] = hidden.masked_fill(~made[MASK], torch.finfo(dtype).min)
        return made


def _numbers(packing: Packing, inputs: Tensor) -> Tensor:
    """The number of the document at every position, from 0, int64 [B, N]."""
    lengths = torch.tensor(packing.lengths, device=inputs.device)
    return torch.arange(len(lengths), device=inputs.device).repeat_interleave(lengths).expand(len(inputs), -1)


def _numbers_from_one(packing: Packing, inputs: Tensor) -> Tensor:
    """The same from 1, because 0 stands for padding in many models."""
    return _numbers(packing, inputs) + 1


def _positions(packing: Packing, inputs: Tensor) -> Tensor:
    """Positions that begin at 0 in every document, int64 [B, N]."""
    counted = [torch.arange(length, device=inputs.device) for length in packing.lengths]
    return torch.cat(counted).expand(len(inputs), -1).contiguous()


def _borders(packing: Packing, inputs: Tensor) -> Tensor:
    """0 and the end of every document, int32 [D + 1]; such models take the documents as one row."""
    if len(inputs) != 1:
        raise ValueError(f"borders of documents are given for one row, not for {len(inputs)}")
    return torch.tensor((0, *accumulate(packing.lengths)), dtype=torch.int32, device=inputs.device)


def _longest(packing: Packing, inputs: Tensor) -> int:  # noqa: ARG001 - the interface of an argument
    return max(packing.lengths)


def _block_mask(packing: Packing, inputs: Tensor) -> Tensor:
    """Who sees whom: bool [B, 1, N, N], True for keys of the same document that are not later."""
    numbers = _numbers(packing, inputs)
    same = numbers[:, None, :, None] == numbers[:, None, None, :]
    return same & torch.ones_like(same[:1, :1]).tril()


Argument = Callable[[Packing, Tensor], Any]
CLAIMS: dict[str, Argument] = {
    **dict.fromkeys(("cu_seqlens", "cu_seq_lens", "cu_seqlens_q", "cu_seqlens_k"), _borders),
    **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k"), _borders),
    "seq_idx": lambda packing, inputs: _numbers(packing, inputs).to(torch.int32).contiguous(),
    **dict.fromkeys(("segment_ids", "document_ids", "doc_ids", "sequence_ids"), _numbers_from_one),
}  # a model that takes one of these says that it keeps documents apart
LENGTHS = ("max_seqlen", "max_seqlen_q", "max_seqlen_k", "max_length_q", "max_length_k")
COMPANIONS: dict[str, Argument] = {
    **dict.fromkeys(LENGTHS, _longest),
    "use_cache": lambda packing, inputs: False,  # noqa: ARG005 - packed rows are for training; some caches unpack them
}  # say nothing about documents by themselves, and go along where a model takes them
ARGUMENTS: dict[str, Argument] = {**CLAIMS, **COMPANIONS, POSITIONS: _positions, MASK: _block_mask}
WORDS = (*CLAIMS, POSITIONS, MASK)  # what a user may insist on
