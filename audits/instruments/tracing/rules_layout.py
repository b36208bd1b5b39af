"""Operations that move elements: run on the stamps as they are. What they fill up with is constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, rule
from audits.instruments.tracing.taint_map import STAMP

MOVERS = [
    *("clone", "_to_copy", "contiguous", "cat", "stack", "hstack", "vstack", "flip", "roll", "rot90"),
    *("tril", "triu", "diag_embed", "repeat", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d"),
    *("replication_pad1d", "replication_pad2d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    *("slice_scatter", "select_scatter", "diagonal_scatter", "as_strided_scatter", "expand_copy"),
    *("view_copy", "upsample_nearest1d", "upsample_nearest2d", "im2col", "diag", "lift"),
    *("lift_fresh_copy", "block_diag", "split_copy", "unbind_copy", "unfold_copy", "permute_copy"),
    *("transpose_copy", "alias_copy", "narrow_copy", "squeeze_copy", "unsqueeze_copy"),
    *("split_with_sizes_copy",),
]
SAME = ("clone", "_to_copy", "contiguous", "lift", "lift_fresh_copy")


def move(function: Any, call: Call) -> Result:
    """The operation itself, on stamps in the place of values."""
    if call.name in SAME:
        return call.mark("self")
    given = {name: _stamps(call, name, value) for name, value in call.values.items()}
    if call.name == "constant_pad_nd":
        given["value"] = 0
    try:
        return _tuple(function(**given))
    except (NotImplementedError, RuntimeError):
        # Some operations know no int16; float64 holds every stamp exactly.
        doubles = {name: _map(value, lambda t: t.double()) for name, value in given.items()}
        return _tuple(_map(function(**doubles), lambda t: t.to(STAMP)))


def _stamps(call: Call, name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return call.solid(name)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        marks = call.marks.get(name) or [None] * len(value)
        return [
            torch.zeros(v.shape, dtype=STAMP, device=v.device) if m is None else m
            for v, m in zip(value, marks, strict=True)
        ]
    return value


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return type(value)(_map(v, change) for v in value)
    return value


def _tuple(value: Any) -> Result:
    return tuple(value) if isinstance(value, (list, tuple)) else value


@rule("masked_scatter", "masked_select")
def masked(call: Call) -> Result:
    """Elements a mask picks: each keeps its own stamp and the mask's (an assumption: see rules_index)."""
    mask = call.values["mask"]
    stamps = torch.maximum(*torch.broadcast_tensors(call.solid("self"), call.solid("mask")))
    call.notes.assumptions["what a mask packs is put back into its own cells"] = None
    if call.name == "masked_select":
        return stamps[mask.expand(stamps.shape)]
    source = call.mark("source")
    latest_source = 0 if source is None or not source.numel() else int(source.max())
    return torch.where(mask, torch.full_like(stamps, latest_source).maximum(call.solid("mask")), stamps)
