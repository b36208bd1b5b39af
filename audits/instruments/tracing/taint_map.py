"""Shadow storage: beside every storage a trace writes to, which token each of its elements depends on.

A *stamp* is an int16: 0 for a constant, else 1 + the latest position the element depends on. Zero for constants lets
layout operations run on stamps unchanged, because what they fill with (zeros) then is constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

STAMP = torch.int16
MASKED = 1 << 14  # set on stamps of elements that a huge negative constant was added to
LONGEST = MASKED - 2  # positions that fit


def times_of(stamps: Tensor) -> Tensor:
    """Stamps without the mark of masked elements."""
    return stamps & (MASKED - 1)


@dataclass
class Shadow:
    """The stamps of one storage.

    Attributes:
        flat: int16, one for every `item` bytes; never written in place, so that views of it stay what they were.
        item: bytes an element.
        masked: whether any stamp may carry the MASKED mark.
        packed: whether the elements are coordinates of cells that a mask kept (see `rules_index`).
        keep: the tensor that keeps the storage alive, so that its address is not given to another.
    """

    flat: Tensor
    item: int
    masked: bool
    packed: bool
    keep: Tensor
    _dense: bool | None = None

    def dense(self) -> bool:
        """Whether no element is constant."""
        if self._dense is None:
            self._dense = int(self.flat.min()) > 0 if self.flat.numel() else True
        return self._dense


def storage_key(tensor: Tensor) -> int:
    """The same for all views of one storage."""
    return int(tensor.untyped_storage()._cdata)


class Shadows:
    """All shadows of one trace; storages without one hold constants."""

    def __init__(self) -> None:
        self._shadows: dict[int, Shadow] = {}

    def of(self, tensor: Tensor) -> Shadow | None:
        """The shadow of a tensor's storage, None where all of it is constant."""
        return self._shadows.get(tensor.untyped_storage()._cdata)

    def read(self, tensor: Tensor) -> Tensor | None:
        """Stamps in the tensor's shape, None where its storage is constant."""
        shadow = self.of(tensor)
        return None if shadow is None else _view(shadow, tensor)

    def write(self, tensor: Tensor, stamps: Tensor | None, *, masked: bool = False, packed: bool = False) -> None:
        """Set the stamps of a tensor (None: constant); other elements of its storage keep theirs."""
        shadow = self.of(tensor)
        item = tensor.element_size()
        if shadow is None and stamps is None:
            return
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * item and tensor.is_contiguous()
        if whole and stamps is not None:
            flat = stamps.expand(tensor.shape).reshape(-1).contiguous()
        else:
            if shadow is None:
                cells = math.ceil(tensor.untyped_storage().nbytes() / item)
                flat = torch.zeros(cells, dtype=STAMP, device=tensor.device)
            else:
                item = min(item, shadow.item)
                flat = shadow.flat.repeat_interleave(shadow.item // item) if item < shadow.item else shadow.flat.clone()
                masked, packed = masked or shadow.masked, packed or shadow.packed
            _assign(flat, item, tensor, stamps)
        self._shadows[tensor.untyped_storage()._cdata] = Shadow(flat, item, masked, packed, tensor)


def _view(shadow: Shadow, tensor: Tensor) -> Tensor:
    """The stamps of a tensor over this storage, whatever its element size."""
    flat, size = shadow.flat, tensor.element_size()
    if size > shadow.item:
        # One complex number over two real ones; a trailing odd element belongs to no whole number.
        ratio = size // shadow.item
        flat = flat[: flat.numel() // ratio * ratio].view(-1, ratio).amax(1)
    elif size < shadow.item:
        flat = flat.repeat_interleave(shadow.item // size)
    if flat.numel() == tensor.numel() and tensor.is_contiguous():
        return flat.view(tensor.shape)
    # A shadow may itself begin inside a larger tensor, and `as_strided` counts from the beginning of that.
    return flat.as_strided(tensor.shape, tensor.stride(), flat.storage_offset() + tensor.storage_offset())


def _assign(flat: Tensor, item: int, tensor: Tensor, stamps: Tensor | None) -> None:
    """Write into a flat shadow whose items are no larger than the tensor's elements."""
    ratio = tensor.element_size() // item
    source: Tensor | int = 0 if stamps is None else stamps.expand(tensor.shape)
    for part in range(ratio):
        stride = [s * ratio for s in tensor.stride()]
        place = flat.as_strided(tensor.shape, stride, tensor.storage_offset() * ratio + part)
        if isinstance(source, Tensor):
            place.copy_(source)
        else:
            place.fill_(source)
