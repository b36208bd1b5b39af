"""Reading and writing by index: what is read depends on the index, and so does where is written.

An index that packs the cells a mask keeps (`nonzero`, `torch.where(mask)`) is special: each entry has the label of its
own cell, on the assumption that what is packed is put back into the same cells. Taken literally (the n-th packed entry
depends on all cells before) every routed mixture of experts would be a leak.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule
from audits.instruments.tracing.rules_group import lists_groups
from audits.instruments.tracing.taint_map import LABEL_DTYPE

PACKING = "elements packed by a mask are put back into their own places"


@rule("embedding")
def embedding(call: Call) -> Result:
    """Rows of a table."""
    index, table = call.labels_of("indices"), call.labels_of("weight")
    rows = None if table is None else table[call.values["indices"]]
    return latest(None if index is None else index.unsqueeze(-1), rows)


@rule("gather")
def gather(call: Call) -> Result:
    """One axis read by index."""
    index, source = call.labels_of("index"), call.labels_of("self")
    if source is not None and source.ndim == 0:
        return latest(index, source)
    read = None if source is None else source.gather(call.values["dim"], call.values["index"])
    return latest(index, read)


@rule("index", "_unsafe_index")
def index(call: Call) -> Result:
    """Advanced indexing with tensors, booleans included."""
    indices, labels = _expanded(call, packs=True)
    source = call.labels_of("self")
    read = None if source is None else source[_tuple(indices)]
    return latest(read, _in_result(indices, labels, call.out.ndim))


@rule("nonzero")
def nonzero(call: Call) -> Result:
    """Coordinates of the cells a mask keeps: each has the label of its own cell, or none in a list of groups."""
    labels = call.labels_or_zeros("self")
    if lists_groups(call.notes, labels):
        return None
    call.assume(PACKING)
    own = labels[tuple(call.out.unbind(1))] if labels.ndim else labels.expand(len(call.out))
    return own.unsqueeze(-1)


def _expanded(call: Call, *, packs: bool) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Indices and their labels, boolean masks turned into coordinates; `packs` if a mask selects several values."""
    given = call.labels.get("indices") or [None] * len(call.values["indices"])
    indices: list[Tensor | None] = []
    labels: list[Tensor | None] = []
    for value, own in zip(call.values["indices"], given, strict=True):
        if value is None or value.dtype not in (torch.bool, torch.uint8):
            indices.append(value)
            labels.append(own)
            continue
        cells = value.nonzero(as_tuple=True)
        if own is not None and packs:
            call.assume(PACKING)
        indices += cells
        labels += [None if own is None else own[cells]] * len(cells)
    return indices, labels


def _tuple(indices: list[Tensor | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if i is None else i for i in indices)


def _in_result(indices: list[Tensor | None], labels: list[Tensor | None], ndim: int) -> Tensor | None:
    """Labels of the indices, at the axes of their common shape in the result of advanced indexing."""
    found = latest(*labels)
    if found is None:
        return None
    used = [n for n, i in enumerate(indices) if i is not None]
    shape = torch.broadcast_shapes(*(i.shape for i in indices if i is not None))
    start = used[0] if used[-1] - used[0] + 1 == len(used) else 0
    return found.expand(shape).reshape([1] * start + list(shape) + [1] * (ndim - start - len(shape)))


def _written(call: Call, cells: Tensor, labels: Tensor | None, *, keep: bool) -> Tensor:
    """Labels after writing to flat `cells` (int64, any shape) values with these labels.

    Args:
        call: with the tensor written to as "self".
        cells: flat cell numbers.
        labels: of what is written, broadcast to `cells`.
        keep: the old value still counts (accumulation).
    """
    before = call.labels_or_zeros("self")
    flat, at = before.reshape(-1).clone(), cells.reshape(-1)
    if not keep:
        flat[at] = 0
    if labels is not None:
        flat.scatter_reduce_(0, at, labels.expand(cells.shape).reshape(-1), "amax")
    return flat.view(before.shape)


def _numbered(tensor: Tensor) -> Tensor:
    return torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(call: Call) -> Result:
    """Along one axis; an index that depends on tokens affects every cell of its line."""
    dim, where, target = call.values["dim"], call.values["index"], call.values["self"]
    if target.ndim == 0:
        return latest(*call.all_labels())
    cells = _numbered(target).gather(dim, where) if where.numel() else where
    source = call.labels_of("src")
    if source is not None:
        source = source[tuple(slice(n) for n in where.shape)]
    keep = call.name != "scatter" or call.get("reduce") is not None
    index_labels = call.labels_of("index")
    found = _written(call, cells, latest(source, index_labels), keep=keep)
    if index_labels is None or "index" in call.packed:
        return found
    corner = found[tuple(slice(n) if a != dim % found.ndim else slice(None) for a, n in enumerate(where.shape))]
    # The corner is a view: cells outside the index's extent are never written, whatever its values.
    corner.copy_(torch.maximum(corner, index_labels.amax(dim, keepdim=True)))
    return found


@rule("index_add", "index_copy", "index_fill", "index_reduce")
def index_write(call: Call) -> Result:
    """Whole slices along one axis."""
    dim, target = call.values["dim"], call.values["self"]
    if target.ndim == 0:
        return latest(*call.all_labels())
    cells = _numbered(target).index_select(dim, call.values["index"])
    labels = call.labels_of("index")
    shape = [1] * target.ndim
    shape[dim] = -1
    along = None if labels is None else labels.reshape(shape)
    value = call.labels_of("value") if call.name == "index_fill" else call.labels_of("source")
    keep = call.name in ("index_add", "index_reduce")
    found = _written(call, cells, latest(value, along), keep=keep)
    if labels is None or "index" in call.packed or not labels.numel():
        return found
    return torch.maximum(found, labels.max())


@rule("index_put", "_unsafe_index_put", "_index_put_impl")
def index_put(call: Call) -> Result:
    """Advanced indexing on the left-hand side."""
    indices, labels = _expanded(call, packs=call.values["values"].numel() > 1)
    target = call.values["self"]
    cells = _numbered(target)[_tuple(indices)]
    along = _in_result(indices, labels, cells.ndim)
    found = _written(call, cells, latest(call.labels_of("values"), along), keep=bool(call.get("accumulate", False)))
    by_mask = any(v is not None and v.dtype == torch.bool for v in call.values["indices"])
    if along is None or not along.numel() or "indices" in call.packed or by_mask:
        return _decided(call, found)
    return torch.maximum(found, _reach(target, labels, cells, along))


def _decided(call: Call, found: Tensor) -> Tensor:
    """`x[mask] = v`: where nothing was written, that was decided by the mask's cell."""
    given = call.labels.get("indices") or []
    for axis, (value, own) in enumerate(zip(call.values["indices"], given, strict=False)):
        if value is not None and own is not None and value.dtype == torch.bool:
            if axis:  # after other indices the mask's axes are not the first ones
                return torch.maximum(found, own.max()) if own.numel() else found
            return torch.maximum(found, own.reshape(*own.shape, *[1] * (found.ndim - own.ndim)))
    return found


def _reach(target: Tensor, labels: list[Tensor | None], cells: Tensor, along: Tensor) -> Tensor:
    """What an index could have written instead: all cells along the axes whose indices depend on tokens."""
    free = [axis for axis, own in enumerate(labels) if own is not None]
    shape = [1 if axis in free else n for axis, n in enumerate(target.shape)]
    strides = list(target.new_empty(shape, device="meta").stride())
    coordinates = torch.unravel_index(cells.reshape(-1), target.shape)
    lines = sum(
        (c * strides[a] for a, c in enumerate(coordinates) if a not in free),
        torch.zeros_like(cells.reshape(-1)),
    )
    reached = torch.zeros(max(1, math.prod(shape)), dtype=LABEL_DTYPE, device=target.device)
    reached.scatter_reduce_(0, lines, along.expand(cells.shape).reshape(-1), "amax")
    return reached.view(shape)


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Result:
    """Repeat counts that depend on tokens affect everything after them."""
    if call.labels.keys() == {"self"}:
        return call.labels_or_zeros("self").repeat_interleave(call.values["repeats"], call.get("dim"))
    return latest(*(m.amax() for m in call.all_labels()))


@rule("searchsorted", "bucketize")
def search(call: Call) -> Result:
    """Indices into a sorted list, which counts as a whole."""
    edges = call.labels_of("boundaries" if call.name == "bucketize" else "sorted_sequence")
    return latest(call.labels_of("self"), None if edges is None else edges.max())
