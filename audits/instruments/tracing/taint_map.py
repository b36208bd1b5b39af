"""Taint maps: for every storage that a trace writes to, which token each of its elements depends on.

A *label* is an int16: 0 for a constant, else 1 + the latest position that the element depends on. Because constants are
0, layout operations run on labels unchanged: what they fill with (zeros) is constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

LABEL_DTYPE = torch.int16
MASKED = 1 << 14  # flag in labels of elements that a huge negative constant was added to
RELEASED = 16  # after so many writes the labels of storages that are gone are released
MAX_POSITIONS = MASKED - 2  # that fit into a label


def unflagged(labels: Tensor) -> Tensor:
    """Labels without the flag of masked elements."""
    return labels & (MASKED - 1)


@dataclass
class TaintMap:
    """The labels of one storage.

    Attributes:
        flat: labels, one for every `item` bytes; never written in place, so that views of it do not change.
        item: bytes an element.
        masked: whether any label may have the MASKED flag.
        packed: whether the elements are coordinates of cells that a mask kept (see `rules_index`).
        storage: a weak reference, as long as which lives the storage's address is not given to another.
    """

    flat: Tensor
    item: int
    masked: bool
    packed: bool
    storage: StorageWeakRef
    _dense: bool | None = None

    def dense(self) -> bool:
        """Whether no element is constant."""
        if self._dense is None:
            self._dense = int(self.flat.min()) > 0 if self.flat.numel() else True
        return self._dense

    def labels(self, tensor: Tensor) -> Tensor:
        """The labels of a tensor over this storage, whatever its element size."""
        flat, size = self.flat, tensor.element_size()
        if size > self.item:
            # One complex number over two real ones; a trailing odd element belongs to no whole number.
            ratio = size // self.item
            flat = flat[: flat.numel() // ratio * ratio].view(-1, ratio).amax(1)
        elif size < self.item:
            flat = flat.repeat_interleave(self.item // size)
        if flat.numel() == tensor.numel() and tensor.is_contiguous():
            return flat.view(tensor.shape)
        # The labels may themselves begin inside a larger tensor, and `as_strided` counts from the beginning of that.
        return flat.as_strided(tensor.shape, tensor.stride(), flat.storage_offset() + tensor.storage_offset())


def storage_key(tensor: Tensor) -> int:
    """The same for all views of one storage."""
    return int(tensor.untyped_storage()._cdata)


class TaintMaps:
    """All taint maps of one trace; storages without one hold constants."""

    def __init__(self) -> None:
        self._maps: dict[int, TaintMap] = {}
        self._written = 0

    def of(self, tensor: Tensor) -> TaintMap | None:
        """The taint map of a tensor's storage, None where all of it is constant."""
        return self._maps.get(storage_key(tensor))

    def read(self, tensor: Tensor) -> Tensor | None:
        """Labels in the tensor's shape, None where its storage is constant."""
        found = self.of(tensor)
        return None if found is None else found.labels(tensor)

    def write(self, tensor: Tensor, labels: Tensor | None, *, masked: bool = False, packed: bool = False) -> None:
        """Set the labels of a tensor (None: constant); other elements of its storage keep theirs."""
        before = self.of(tensor)
        item = tensor.element_size()
        if before is None and labels is None:
            return
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * item and tensor.is_contiguous()
        if whole and labels is not None:
            flat = labels.expand(tensor.shape).reshape(-1).contiguous()
        else:
            if before is None:
                cells = math.ceil(tensor.untyped_storage().nbytes() / item)
                flat = torch.zeros(cells, dtype=LABEL_DTYPE, device=tensor.device)
            else:
                item = min(item, before.item)
                flat = before.flat.repeat_interleave(before.item // item) if item < before.item else before.flat.clone()
                masked, packed = masked or before.masked, packed or before.packed
            _assign(flat, item, tensor, labels)
        weak = StorageWeakRef(tensor.untyped_storage()) if before is None else before.storage
        self._maps[storage_key(tensor)] = TaintMap(flat, item, masked, packed, weak)
        self._written += 1
        if self._written % RELEASED == 0:
            self._maps = {key: each for key, each in self._maps.items() if not each.storage.expired()}


def _assign(flat: Tensor, item: int, tensor: Tensor, labels: Tensor | None) -> None:
    """Write into flat labels whose items are no larger than the tensor's elements."""
    ratio = tensor.element_size() // item
    new = flat.new_zeros(()) if labels is None else labels
    for part in range(ratio):
        stride = [s * ratio for s in tensor.stride()]
        cells = flat.as_strided(tensor.shape, stride, tensor.storage_offset() * ratio + part)
        cells.copy_(new.expand(tensor.shape))
