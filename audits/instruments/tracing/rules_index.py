"""Reading and writing by index: what is read inherits the index; where is written depends on it.

An index that comes from packing the cells a mask keeps (`nonzero`, `torch.where(mask)`) is special: each entry carries
the time of its own cell, on the assumption that what is packed is put back into the same cells. Taking it literally
(the n-th packed entry depends on all cells before) would call every routed mixture of experts a leak.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule
from audits.instruments.tracing.rules_group import lists_groups
from audits.instruments.tracing.taint_map import STAMP

PACKING = "what a mask packs is put back into its own cells"


@rule("embedding")
def embedding(call: Call) -> Result:
    """Rows of a table."""
    index, table = call.mark("indices"), call.mark("weight")
    rows = None if table is None else table[call.values["indices"]]
    return latest(None if index is None else index.unsqueeze(-1), rows)


@rule("gather")
def gather(call: Call) -> Result:
    """One axis read by index."""
    index, source = call.mark("index"), call.mark("self")
    if source is not None and source.ndim == 0:
        return latest(index, source)
    read = None if source is None else source.gather(call.values["dim"], call.values["index"])
    return latest(index, read)


@rule("take")
def take(call: Call) -> Result:
    """The flattened tensor read by index."""
    source = call.mark("self")
    return latest(call.mark("index"), None if source is None else source.reshape(-1)[call.values["index"]])


@rule("index_select")
def index_select(call: Call) -> Result:
    """Whole slices read by index."""
    dim, index, source = call.values["dim"], call.mark("index"), call.mark("self")
    shape = [1] * call.out.ndim
    if shape:
        shape[dim] = -1
    read = None if source is None else source.index_select(dim, call.values["index"])
    return latest(None if index is None else index.reshape(shape), read)


@rule("index", "_unsafe_index")
def index(call: Call) -> Result:
    """Advanced indexing with tensors, booleans included."""
    indices, marks = _expanded(call, packs=True)
    source = call.mark("self")
    read = None if source is None else source[_tuple(indices)]
    return latest(read, _laid_out(indices, marks, call.out.ndim))


@rule("nonzero")
def nonzero(call: Call) -> Result:
    """Coordinates of the cells a mask keeps: each has the time of its own cell, or none in a list of groups."""
    stamps = call.solid("self")
    if lists_groups(call, stamps):
        return None
    call.notes.assumptions[PACKING] = None
    own = stamps[tuple(call.out.unbind(1))] if stamps.ndim else stamps.expand(len(call.out))
    return own.unsqueeze(-1)


def _expanded(call: Call, *, packs: bool) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Indices and their stamps, boolean masks turned into coordinates; `packs` if several values follow a mask."""
    given = call.marks.get("indices") or [None] * len(call.values["indices"])
    indices: list[Tensor | None] = []
    marks: list[Tensor | None] = []
    for value, mark in zip(call.values["indices"], given, strict=True):
        if value is None or value.dtype not in (torch.bool, torch.uint8):
            indices.append(value)
            marks.append(mark)
            continue
        cells = value.nonzero(as_tuple=True)
        if mark is not None and packs:
            call.notes.assumptions[PACKING] = None
        indices += cells
        marks += [None if mark is None else mark[cells]] * len(cells)
    return indices, marks


def _tuple(indices: list[Tensor | None]) -> tuple[Any, ...]:
    return tuple(slice(None) if i is None else i for i in indices)


def _laid_out(indices: list[Tensor | None], marks: list[Tensor | None], ndim: int) -> Tensor | None:
    """Stamps of the indices where their common shape lies in the result of advanced indexing."""
    found = latest(*marks)
    if found is None:
        return None
    used = [n for n, i in enumerate(indices) if i is not None]
    shape = torch.broadcast_shapes(*(i.shape for i in indices if i is not None))
    start = used[0] if used[-1] - used[0] + 1 == len(used) else 0
    return found.expand(shape).reshape([1] * start + list(shape) + [1] * (ndim - start - len(shape)))


def _written(call: Call, cells: Tensor, stamps: Tensor | None, *, keep: bool) -> Tensor:
    """Stamps after writing to flat `cells` (int64, any shape) values with these stamps.

    Args:
        call: with the tensor written to as "self".
        cells: flat cell numbers.
        stamps: of what is written, broadcast to `cells`.
        keep: what stood there still counts (accumulation).
    """
    before = call.solid("self")
    flat, at = before.reshape(-1).clone(), cells.reshape(-1)
    if not keep:
        flat[at] = 0
    if stamps is not None:
        flat.scatter_reduce_(0, at, stamps.expand(cells.shape).reshape(-1), "amax")
    return flat.view(before.shape)


def _numbered(tensor: Tensor) -> Tensor:
    return torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape)


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(call: Call) -> Result:
    """Along one axis; an index that depends on tokens decides about every cell of its line."""
    dim, where, target = call.values["dim"], call.values["index"], call.values["self"]
    if target.ndim == 0:
        return latest(*call.all_marks())
    cells = _numbered(target).gather(dim, where) if where.numel() else where
    source = call.mark("src")
    if source is not None:
        source = source[tuple(slice(n) for n in where.shape)]
    keep = call.name != "scatter" or call.get("reduce") is not None
    mark = call.mark("index")
    found = _written(call, cells, latest(source, mark), keep=keep)
    if mark is None or "index" in call.packed:
        return found
    corner = found[tuple(slice(n) if a != dim % found.ndim else slice(None) for a, n in enumerate(where.shape))]
    # The corner is a view: positions outside the index's extent are never written, whatever it says.
    corner.copy_(torch.maximum(corner, mark.amax(dim, keepdim=True)))
    return found


@rule("index_add", "index_copy", "index_fill", "index_reduce")
def index_write(call: Call) -> Result:
    """Whole slices along one axis."""
    dim, target = call.values["dim"], call.values["self"]
    if target.ndim == 0:
        return latest(*call.all_marks())
    cells = _numbered(target).index_select(dim, call.values["index"])
    mark = call.mark("index")
    shape = [1] * target.ndim
    shape[dim] = -1
    along = None if mark is None else mark.reshape(shape)
    value = call.mark("value") if call.name == "index_fill" else call.mark("source")
    keep = call.name in ("index_add", "index_reduce")
    found = _written(call, cells, latest(value, along), keep=keep)
    if mark is None or "index" in call.packed or not mark.numel():
        return found
    return torch.maximum(found, mark.max())


@rule("index_put", "_unsafe_index_put", "_index_put_impl")
def index_put(call: Call) -> Result:
    """Advanced indexing on the left-hand side."""
    indices, marks = _expanded(call, packs=call.values["values"].numel() > 1)
    target = call.values["self"]
    cells = _numbered(target)[_tuple(indices)]
    along = _laid_out(indices, marks, cells.ndim)
    found = _written(call, cells, latest(call.mark("values"), along), keep=bool(call.get("accumulate", False)))
    if along is None or not along.numel() or "indices" in call.packed:
        return _decided(call, found)
    if any(v is not None and v.dtype == torch.bool for v in call.values["indices"]):
        return _decided(call, found)
    return torch.maximum(found, _reach(target, marks, cells, along))


def _decided(call: Call, found: Tensor) -> Tensor:
    """`x[mask] = v`: where nothing was written, the mask's cell decided so."""
    marks = call.marks.get("indices") or []
    for axis, (value, mark) in enumerate(zip(call.values["indices"], marks, strict=False)):
        if value is not None and mark is not None and value.dtype == torch.bool:
            if axis:  # behind other indices its cells are not laid out simply
                return torch.maximum(found, mark.max()) if mark.numel() else found
            return torch.maximum(found, mark.reshape(*mark.shape, *[1] * (found.ndim - mark.ndim)))
    return found


def _reach(target: Tensor, marks: list[Tensor | None], cells: Tensor, along: Tensor) -> Tensor:
    """What an index could have written instead: all cells along the axes whose indices depend on tokens."""
    free = [axis for axis, mark in enumerate(marks) if mark is not None]
    shape = [1 if axis in free else n for axis, n in enumerate(target.shape)]
    strides = list(target.new_empty(shape, device="meta").stride())
    coordinates = torch.unravel_index(cells.reshape(-1), target.shape)
    lines = sum(
        (c * strides[a] for a, c in enumerate(coordinates) if a not in free),
        torch.zeros_like(cells.reshape(-1)),
    )
    reached = torch.zeros(max(1, _product(shape)), dtype=STAMP, device=target.device)
    reached.scatter_reduce_(0, lines, along.expand(cells.shape).reshape(-1), "amax")
    return reached.view(shape)


def _product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


@rule("repeat_interleave")
def repeat_interleave(call: Call) -> Result:
    """Repeat counts that depend on tokens decide about all that follows."""
    return latest(*(m.amax() for m in call.all_marks()))


@rule("searchsorted", "bucketize")
def search(call: Call) -> Result:
    """Places in a sorted list, which counts as a whole."""
    if call.name == "bucketize":
        edges, given = call.mark("boundaries"), call.mark("self")
    else:
        edges, given = call.mark("sorted_sequence"), call.mark("self")
    return latest(given, None if edges is None else edges.max())
