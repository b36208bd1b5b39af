"""Operations that move elements: run on the labels themselves. What they fill with is constant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from audits.instruments.tracing.call import Call, Result, rule, zeros_for
from audits.instruments.tracing.rules_index import PACKING
from audits.instruments.tracing.taint_map import LABEL_DTYPE

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
    """The operation itself, on labels in place of values."""
    if call.name in SAME:
        return call.labels_of("self")
    given = {name: _labels(call, name, value) for name, value in call.values.items()}
    if call.name == "constant_pad_nd":
        given["value"] = 0
    try:
        return _tuple(function(**given))
    except (NotImplementedError, RuntimeError):
        # Some operations know no int16; float64 holds every label exactly.
        moved = function(**tree_map_only(Tensor, Tensor.double, given))
        return _tuple(tree_map_only(Tensor, lambda labels: labels.to(LABEL_DTYPE), moved))


def _labels(call: Call, name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return call.labels_or_zeros(name)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        labels = call.labels.get(name) or [None] * len(value)
        return [zeros_for(v) if m is None else m for v, m in zip(value, labels, strict=True)]
    return value


def _tuple(value: Any) -> Result:
    return tuple(value) if isinstance(value, (list, tuple)) else value


@rule("masked_scatter", "masked_select")
def masked(call: Call) -> Result:
    """Elements that a mask selects: each keeps its own label and the mask's (an assumption: see rules_index)."""
    mask = call.values["mask"]
    labels = torch.maximum(*torch.broadcast_tensors(call.labels_or_zeros("self"), call.labels_or_zeros("mask")))
    call.assume(PACKING)
    if call.name == "masked_select":
        return labels[mask.expand(labels.shape)]
    source = call.labels_of("source")
    latest_source = 0 if source is None or not source.numel() else int(source.max())
    return torch.where(mask, torch.full_like(labels, latest_source).maximum(call.labels_or_zeros("mask")), labels)
