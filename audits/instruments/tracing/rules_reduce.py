"""Reductions, running reductions, softmax, rankings, norms and transforms: the latest along the axes they run over."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audits.instruments.tracing.call import Call, Result, latest, rule
from audits.instruments.tracing.rules_group import grouped, groups
from audits.instruments.tracing.rules_pointwise import FINITE_MASKS, HUGE
from audits.instruments.tracing.taint_map import MASKED, unflagged

UNDERFLOW = 800.0  # exp of minus this is 0 in every floating dtype


def over(labels: Tensor, dim: object, *, keepdim: bool) -> Tensor:
    """The latest label over one axis, several, or (None, empty) all."""
    if labels.ndim == 0:
        return labels
    dims = [dim] if isinstance(dim, int) else list(dim) if isinstance(dim, (list, tuple, range)) else []
    if 0 in ([labels.shape[d] for d in dims] or labels.shape):
        # Nothing is reduced: the result is the operation's neutral element.
        return torch.zeros_like(labels).sum(dims or None, keepdim=keepdim, dtype=labels.dtype)
    return labels.amax(dims or tuple(range(labels.ndim)), keepdim=keepdim)


@rule("sum", "nansum", "mean", "prod", "var", "std", "var_mean", "std_mean", "norm", "linalg_vector_norm")
def reduce(call: Call) -> Result:
    """Sums and moments."""
    return over(call.labels_or_zeros("self"), call.get("dim"), keepdim=bool(call.get("keepdim", False)))


@rule("any", "all", "_is_any_true", "_is_all_true")
def quantify(call: Call) -> Result:
    """A constant True decides `any`, a constant False decides `all`."""
    labels = call.labels_or_zeros("self")
    keep = bool(call.get("keepdim", False))
    found = over(labels, call.get("dim"), keepdim=keep)
    value = call.values["self"].bool()
    deciding = ((value if "any" in call.name else ~value) & (labels == 0)).to(labels.dtype)
    return torch.where(over(deciding, call.get("dim"), keepdim=keep) > 0, 0, found)


@rule("amax", "amin", "max", "min", "argmax", "argmin", "aminmax", "logsumexp", "median", "mode", masked=True)
def extreme(call: Call) -> Result:
    """Extremes and their indices; masked elements far below the largest do not count."""
    if "other" in call.values:  # max(a, b) is element-wise
        return latest(*(unflagged(m) for m in call.all_labels()))
    labels, dim = call.labels_or_zeros("self"), call.get("dim")
    if dim is not None and dim != []:
        labels = without_hidden(call, labels, call.values["self"], dim)
    return over(unflagged(labels), dim, keepdim=bool(call.get("keepdim", False)))


def without_hidden(call: Call, labels: Tensor, value: Tensor, dim: Any) -> Tensor:
    """Labels in which masked elements far below the largest along `dim` are constants.

    Masked is a constant of huge negative value, or a sum flagged as such. A value that depends on tokens never counts
    as a mask, however low it is.
    """
    if not value.is_floating_point() or (not bool(((labels == 0) | (labels >= MASKED)).any())):
        return labels
    peak = value.amax(dim, keepdim=True)
    hidden = ((labels >= MASKED) | ((labels == 0) & (value <= -HUGE))) & (value < peak - UNDERFLOW)
    if bool((hidden & value.isfinite()).any()):
        call.assume(FINITE_MASKS)
    return torch.where(hidden, 0, labels)


@rule("_softmax", "_safe_softmax", masked=True)
def softmax(call: Call) -> Result:
    """Every weight depends on the whole line, except those of masked elements: they are constant zeros.

    Where a decision that depends on tokens gave minus infinity, the weight is a zero flagged as masked.
    """
    value, labels, line = _line(call)
    masked = ((labels >= MASKED) | ((labels == 0) & (value <= -HUGE))) & (call.out == 0)
    decided = (labels > 0) & value.isneginf() & (line > 0)
    return torch.where(masked, 0, torch.where(decided, line | MASKED, line))


@rule("_log_softmax", masked=True)
def log_softmax(call: Call) -> Result:
    """As softmax; what was masked remains masked."""
    value, labels, line = _line(call)
    constant = (labels == 0) & (value == -torch.inf)
    return torch.where(constant, 0, line | (labels & MASKED))


def _line(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """Values, their labels, and the latest label of what is not masked along the line of each."""
    value, labels, dim = call.values["self"], call.labels_or_zeros("self"), call.values["dim"]
    visible = unflagged(without_hidden(call, labels, value, dim))
    return value, labels, over(visible, dim, keepdim=True).expand_as(labels)


@rule("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
def running(call: Call) -> Result:
    """Running reductions: the latest so far."""
    return call.labels_or_zeros("self").cummax(call.values["dim"]).values


@rule("sort", "topk", "kthvalue", masked=True)
def ranking(call: Call) -> Result:
    """Every rank depends on all that was compared, indices as well as values."""
    if groups(call):
        return grouped(call)
    labels, value = call.labels_or_zeros("self"), call.values["self"]
    dim = call.get("dim", -1)
    keep = call.name != "kthvalue" or bool(call.get("keepdim"))
    return over(unflagged(without_hidden(call, labels, value, dim)), dim, keepdim=keep).expand(call.out[0].shape)


@rule("native_layer_norm", "_fused_rms_norm", "_fused_layer_norm")
def layer_norm(call: Call) -> Result:
    """Statistics over the last axes."""
    labels = call.labels_or_zeros("input")
    line = over(labels, range(-len(call.values["normalized_shape"]), 0), keepdim=True)
    scaled = latest(line.expand_as(labels), call.labels_of("weight"), call.labels_of("bias"))
    return (scaled, *(line for _ in call.out[1:]))


@rule("native_group_norm")
def group_norm(call: Call) -> Result:
    """Statistics over the channels of a group and all positions: input is [B, D, *]."""
    labels = call.labels_or_zeros("input")
    grouped = labels.unflatten(1, (call.values["group"], -1))
    line = grouped.flatten(2).amax(-1)
    spread = line.reshape(*line.shape, *[1] * (grouped.ndim - 2)).expand_as(grouped)
    return spread.flatten(1, 2), line, line


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def batch_norm(call: Call) -> Result:
    """In training, statistics over rows and positions for each channel; else the running ones, which are inputs too."""
    labels = call.labels_or_zeros("input")
    line = over(labels.movedim(1, 0).flatten(1), 1, keepdim=False)
    others = [call.labels_of(n) for n in ("weight", "bias", "running_mean", "running_var")]
    if call.get("training", call.name == "_native_batch_norm_legit"):
        others.append(line)
    found = latest(labels, *(m.reshape(-1, *[1] * (labels.ndim - 2)) for m in others if m is not None))
    return (found, *(line if o.numel() == line.numel() else None for o in call.out[1:]))


@rule("_fft_r2c", "_fft_c2c", "_fft_c2r")
def transform(call: Call) -> Result:
    """Every frequency depends on the whole line, over all transformed axes."""
    labels = call.labels_or_zeros("self")
    return over(labels, list(call.values["dim"]), keepdim=True).expand(call.out.shape)


@rule("linalg_solve_triangular", "triangular_solve")
def triangular(call: Call) -> Result:
    """Substitution: each row of the solution depends on the rows before it (after it, for upper triangles)."""
    matrix, side = call.labels_or_zeros("self"), call.labels_or_zeros("B")
    if not call.get("left", True):
        return torch.maximum(matrix.amax((-2, -1), keepdim=True), side.amax((-2, -1), keepdim=True))
    upper = call.values["upper"]
    part = matrix.triu() if upper else matrix.tril()
    rows = torch.maximum(*torch.broadcast_tensors(part.amax(-1, keepdim=True), side))
    return rows.flip(-2).cummax(-2).values.flip(-2) if upper else rows.cummax(-2).values
