"""Matrix products and convolutions: a term counts unless its other factor is a constant zero."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule
from audits.instruments.tracing.taint_map import LABEL_DTYPE, unflagged

CELLS = 2**24  # of an intermediate [.., I, K, J] held at once


def contract(call: Call, first: str, second: str) -> Tensor | None:
    """Labels of a product [.., I, K] @ [.., K, J], as [.., I or 1, J or 1]."""
    left, right = call.labels_of(first), call.labels_of(second)
    parts = []
    if left is not None:
        parts.append(_masked(unflagged(left), call.annihilating(second)))
    if right is not None:
        zero = call.annihilating(first)
        zero = None if zero is None else zero.transpose(-1, -2)
        parts.append(_masked(unflagged(right).transpose(-1, -2), zero).transpose(-1, -2))
    return latest(*parts)


def _masked(labels: Tensor, zero: Tensor | None) -> Tensor:
    """Max over k of labels [.., I, K] where not zero [.., K, J]: [.., I, J]; [.., I, 1] where nothing is.

    Labels that are equal along k, as they mostly are (features of one token), need no product; rows or columns that
    are all equal are computed once.
    """
    if zero is None:
        return labels.amax(-1, keepdim=True)
    if bool((labels == labels[..., :1]).all()):
        return labels[..., :1] * (~zero).any(-2, keepdim=True)
    if labels.shape[-2] > 1 and bool((labels == labels[..., :1, :]).all()):
        labels = labels[..., :1, :]
    if zero.shape[-1] > 1 and bool((zero == zero[..., :1]).all()):
        zero = zero[..., :1]
    rows = max(1, CELLS // max(1, labels[..., 0, :].numel() * zero.shape[-1]))
    open_ = (~zero).to(LABEL_DTYPE).unsqueeze(-3)  # [.., 1, K, J]
    parts = [(part.unsqueeze(-1) * open_).amax(-2) for part in labels.split(rows, -2)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


@rule("mm", "bmm", masked=True)
def product(call: Call) -> Result:
    """Matrix products."""
    return contract(call, "self", "mat2")


@rule("addmm", "baddbmm", masked=True)
def affine(call: Call) -> Result:
    """A matrix product plus something."""
    names = ("mat1", "mat2") if call.name == "addmm" else ("batch1", "batch2")
    return latest(unflagged(call.labels_or_zeros("self")), contract(call, *names))


@rule("_cdist_forward")
def distances(call: Call) -> Result:
    """Of every row of one [.., I, K] to every row of another [.., J, K]: [.., I, J]."""
    left, right = (call.labels_or_zeros(name).amax(-1, keepdim=True) for name in ("x1", "x2"))
    return torch.maximum(left, right.transpose(-1, -2))


@rule("convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution")
def convolution(call: Call) -> Result:
    """Taps whose weights are all constant zeros do not count; within a group every channel does. Any dimensions."""
    weight, labels = call.values["weight"], call.labels_or_zeros("input")
    groups = call.values["groups"]
    space = weight.ndim - 2
    stride, padding, dilation = (_each(call.values[n], space) for n in ("stride", "padding", "dilation"))
    if call.values["transposed"]:
        labels, stride, padding = _with_gaps(call, labels, weight, stride, padding, dilation)
        weight = weight.flip(tuple(range(2, weight.ndim)))
    grouped = labels.reshape(labels.shape[0], groups, -1, *labels.shape[2:]).amax(2)
    padded = F.pad(grouped, [p for pad in reversed(padding) for p in (pad, pad)])
    size = call.out.shape[2:]
    found = _under_taps(padded, _live_taps(call, weight, groups), size, stride, dilation)
    channels = found.repeat_interleave(call.out.shape[1] // groups, 1)
    return latest(channels, *(m.max() for m in (call.labels_of("weight"), call.labels_of("bias")) if m is not None))


def _each(value: Any, count: int) -> list[int]:
    return list(value) * count if len(value) == 1 else list(value)


def _live_taps(call: Call, weight: Tensor, groups: int) -> Tensor:
    """Which taps of which group have a weight other than a constant zero: bool [groups, *kernel]."""
    if call.labels_of("weight") is not None:
        return torch.ones(groups, *weight.shape[2:], dtype=torch.bool, device=weight.device)
    return (weight != 0).reshape(groups, -1, *weight.shape[2:]).any(1)


def _under_taps(padded: Tensor, live: Tensor, size: Any, stride: list[int], dilation: list[int]) -> Tensor:
    """The latest label under the live taps of the kernel: [B, groups, *size]."""
    found = padded.new_zeros(*padded.shape[:2], *size)
    for tap in live.any(0).nonzero().tolist():
        window = padded
        for axis, (offset, step, length) in enumerate(zip(tap, stride, size, strict=True), start=2):
            start = offset * dilation[axis - 2]
            every = torch.arange(length, device=window.device) * step + start
            window = window.index_select(axis, every)
        here = live[(slice(None), *tap)].reshape(1, -1, *[1] * len(tap))
        found = torch.maximum(found, window * here)
    return found


def _with_gaps(
    call: Call, labels: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> tuple[Tensor, list[int], list[int]]:
    """A transposed convolution as an ordinary one: constants between the inputs, the kernel flipped."""
    shape = [(n - 1) * s + 1 for n, s in zip(labels.shape[2:], stride, strict=True)]
    spread = labels.new_zeros(*labels.shape[:2], *shape)
    view = spread
    for axis, step in enumerate(stride, start=2):
        view = view.unfold(axis, 1, step).squeeze(-1)
    view.copy_(labels)
    extra = _each(call.values["output_padding"], len(stride))
    spread = F.pad(spread, [p for e in reversed(extra) for p in (0, e)])
    pads = [d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)]
    return spread, [1] * len(stride), pads


@rule("avg_pool2d", "max_pool2d_with_indices")
def pool(call: Call) -> Result:
    """The latest in each window."""
    labels = call.labels_or_zeros("self").double()
    stride = call.get("stride") or call.values["kernel_size"]
    size, padding = call.values["kernel_size"], call.get("padding", 0)
    found = F.max_pool2d(labels, size, stride, padding, call.get("dilation", 1), bool(call.get("ceil_mode", False)))
    return found.to(LABEL_DTYPE)
