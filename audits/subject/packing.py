"""Documents packed end to end in one row, and the arguments that give models their boundaries.

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

    def __str__(self) -> str:
        *others, last = (str(length) for length in self.lengths)
        return f"documents of {', '.join(others)} and {last} tokens" if others else f"one document of {last} tokens"


def packings(length: int) -> tuple[Packing, ...]:
    """The rows to try: uneven boundaries, a boundary at the edge of a chunk, and a document of a single token.

    Chunks are usually powers of two: the boundary of the second row is a multiple of the largest that fits three times.
    """
    first, second = max(1, length * 3 // 8) | 1, max(1, length // 4 - 2)
    power = 1 << max(0, (length // 3).bit_length() - 1)
    boundary = length - 1 - (length - 1) % power
    tried = [
        (first, second, length - first - second),
        (boundary, length - boundary),
        (length // 2 + 1, 1, length - length // 2 - 2),
    ]
    fitting = [Packing(lengths) for lengths in tried if min(lengths) >= 1]
    return tuple(dict.fromkeys(fitting)) or (Packing((1, length - 1)),)


@dataclass(frozen=True)
class DocumentKwargs:
    """The arguments that give a model the documents of a packed row: called with inputs, returns keyword arguments.

    Attributes:
        packing: of the row.
        names: of the arguments.
        additive: a mask of 0 and minus infinity in the model's dtype in place of a boolean one (True: may attend).
    """

    packing: Packing
    names: tuple[str, ...]
    additive: bool = False

    def __call__(self, inputs: Tensor, dtype: torch.dtype) -> dict[str, Any]:
        """The arguments for inputs [B, N, ...] of the packing's length."""
        kwargs = {name: BUILDERS[name](self.packing, inputs) for name in self.names}
        if self.additive and MASK in kwargs:
            hidden = torch.zeros(kwargs[MASK].shape, dtype=dtype, device=inputs.device)
            kwargs[MASK] = hidden.masked_fill(~kwargs[MASK], torch.finfo(dtype).min)
        return kwargs


def _numbers(packing: Packing, inputs: Tensor) -> Tensor:
    """The number of the document at every position, from 0, int64 [B, N]."""
    lengths = torch.tensor(packing.lengths, device=inputs.device)
    return torch.arange(len(lengths), device=inputs.device).repeat_interleave(lengths).expand(len(inputs), -1)


def _positions(packing: Packing, inputs: Tensor) -> Tensor:
    """Positions that restart at 0 in every document, int64 [B, N]."""
    counted = [torch.arange(length, device=inputs.device) for length in packing.lengths]
    return torch.cat(counted).expand(len(inputs), -1).contiguous()


def _boundaries(packing: Packing, inputs: Tensor) -> Tensor:
    """0 and the end of every document, int32 [D + 1]; such models take the documents as one row."""
    if len(inputs) != 1:
        raise ValueError(f"document boundaries are given for one row, not for {len(inputs)}")
    return torch.tensor((0, *accumulate(packing.lengths)), dtype=torch.int32, device=inputs.device)


def _block_mask(packing: Packing, inputs: Tensor) -> Tensor:
    """Who attends to whom: bool [B, 1, N, N], True for keys of the same document that are not later."""
    numbers = _numbers(packing, inputs)
    same = numbers[:, None, :, None] == numbers[:, None, None, :]
    return same & torch.ones_like(same[:1, :1]).tril()


Builder = Callable[[Packing, Tensor], Any]
NUMBERS = ("segment_ids", "document_ids", "doc_ids", "sequence_ids")
# A model that takes one of these promises that it isolates documents.
ISOLATING_ARGUMENTS: dict[str, Builder] = {
    **dict.fromkeys(("cu_seqlens", "cu_seq_lens", "cu_seqlens_q", "cu_seqlens_k"), _boundaries),
    **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k"), _boundaries),
    "seq_idx": lambda packing, inputs: _numbers(packing, inputs).to(torch.int32).contiguous(),
    **dict.fromkeys(NUMBERS, lambda packing, inputs: _numbers(packing, inputs) + 1),  # 0 means padding in many models
}
LENGTHS = ("max_seqlen", "max_seqlen_q", "max_seqlen_k", "max_length_q", "max_length_k")
# These promise nothing by themselves, and are passed where a model takes them.
AUXILIARY_ARGUMENTS: dict[str, Builder] = {
    **dict.fromkeys(LENGTHS, lambda packing, _: max(packing.lengths)),
    "use_cache": lambda *_: False,  # packed rows are for training; some caches unpack them
}
BUILDERS: dict[str, Builder] = {**ISOLATING_ARGUMENTS, **AUXILIARY_ARGUMENTS, POSITIONS: _positions, MASK: _block_mask}
DOCUMENT_ARGUMENTS = (*ISOLATING_ARGUMENTS, POSITIONS, MASK)  # those that a user may require to isolate documents
