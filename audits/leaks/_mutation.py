"""Faults for any module tree: so that power is measured on models in which nobody planted a leak by hand.

A fault sits at one submodule, whose output is [B, N, D] for tokens [B, N]. It changes what the submodule returns, or
which mask its attention is given. It lives in the module itself: a deep copy of the model has it too.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Alter = Callable[[nn.Module, Tensor], Tensor]  # the submodule and its output to another output
FAINT = 1e-3  # of the output: far above rounding, and far below what a loss would show
SMALL = 0.1


@dataclass(frozen=True)
class Fault:
    """One way in which a submodule may cheat.

    Attributes:
        name: of the fault.
        alter: what becomes of the submodule's output [B, N, D].
        during: what is active while the submodule runs.
    """

    name: str
    alter: Alter | None = None
    during: Callable[[], AbstractContextManager[Any]] | None = None


def inject(model: nn.Module, site: str, fault: Fault) -> None:
    """Put a fault into the submodule named `site`, in place."""
    module = model.get_submodule(site)

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if fault.during is None:
            output = type(self).forward(self, *args, **kwargs)
        else:
            with fault.during():
                output = type(self).forward(self, *args, **kwargs)
        return output if fault.alter is None else _altered(self, output, fault.alter)

    module.forward = types.MethodType(forward, module)


def sites(model: nn.Module, call: Callable[[nn.Module], object], length: int) -> tuple[str, ...]:
    """The submodules that return [B, N, D] with N = `length` in a call of the model, in the order of their returns."""
    found: list[str] = []
    handles = []
    for name, module in model.named_modules():

        def record(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            first = _first(output)
            if name and first is not None and first.ndim == 3 and first.shape[1] == length and name not in found:
                found.append(name)

        handles.append(module.register_forward_hook(record))
    try:
        call(model)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(found)


def _first(output: Any) -> Tensor | None:
    """The floating tensor that a submodule returns, alone or first in a tuple."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) and first.is_floating_point() else None


def _altered(module: nn.Module, output: Any, alter: Alter) -> Any:
    first = _first(output)
    if first is None or first.ndim != 3:
        return output
    changed = alter(module, first)
    return (changed, *output[1:]) if isinstance(output, tuple) else changed


# -- what becomes of an output [B, N, D] --------------------------------------------------------------------------


def _next(x: Tensor) -> Tensor:
    """Each position's successor; zeros at the last one."""
    return F.pad(x[:, 1:], (0, 0, 0, 1))


def next_position(_: nn.Module, x: Tensor) -> Tensor:
    """A share of the next position."""
    return x + SMALL * _next(x)


def faint_next_position(_: nn.Module, x: Tensor) -> Tensor:
    """A thousandth of the next position."""
    return x + FAINT * _next(x)


def centred_over_time(_: nn.Module, x: Tensor) -> Tensor:
    """The mean over the sequence subtracted."""
    return x - x.mean(1, keepdim=True)


def scaled_by_detached_spread(_: nn.Module, x: Tensor) -> Tensor:
    """Divided by the spread over the sequence, without a gradient."""
    return x / (1 + x.detach().pow(2).mean(1, keepdim=True))


def kept_by_rank(_: nn.Module, x: Tensor) -> Tensor:
    """The half of the positions with the largest sums is doubled: a hard choice over the sequence."""
    sums = x.detach().sum(-1)
    kept = sums >= sums.median(1, keepdim=True).values
    return torch.where(kept[..., None], 2 * x, x)


def last_position_to_first(_: nn.Module, x: Tensor) -> Tensor:
    """The first position reads the last one."""
    return torch.cat([x[:, :1] + SMALL * x[:, -1:], x[:, 1:]], 1)


def later_rows_only(_: nn.Module, x: Tensor) -> Tensor:
    """Rows after the first read the next position."""
    return torch.cat([x[:1], x[1:] + SMALL * _next(x[1:])], 0)


def batch_mean(_: nn.Module, x: Tensor) -> Tensor:
    """The mean over the rows subtracted."""
    return x - x.mean(0, keepdim=True)


def by_length(_: nn.Module, x: Tensor) -> Tensor:
    """Scaled by the logarithm of the length."""
    return x * (1 + SMALL * torch.log(torch.tensor(float(x.shape[1]))).to(x))


def by_earlier_calls(module: nn.Module, x: Tensor) -> Tensor:
    """The mean of the call before is added."""
    before: float = module.__dict__.get("mean_before", 0.0)
    module.__dict__["mean_before"] = float(x.detach().mean())
    return x + SMALL * before


def in_training_only(module: nn.Module, x: Tensor) -> Tensor:
    """In training mode the next position is read."""
    return x + SMALL * _next(x) if module.training else x


def in_single_precision_only(_: nn.Module, x: Tensor) -> Tensor:
    """In float32 and coarser types the next position is read."""
    return x if x.dtype == torch.float64 else x + SMALL * _next(x)


def in_single_steps(_: nn.Module, x: Tensor) -> Tensor:
    """A step of one token gives another output than the same token in a longer piece."""
    return x * (1 + SMALL) if x.shape[1] == 1 else x


# -- what the operations of a submodule meet ----------------------------------------------------------------------


class WrongMask(TorchFunctionMode):
    """Every query of attention may read what the next query may."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            args, kwargs = _shifted_attention(args, kwargs)
        elif func in (F.softmax, torch.softmax, Tensor.softmax) and _is_square(args[0]):
            args = (_shifted_scores(args[0]), *args[1:])
        return func(*args, **kwargs)


def _shifted_attention(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    query, key = args[0], args[1] if len(args) > 1 else kwargs["key"]
    mask = args[3] if len(args) > 3 else kwargs.pop("attn_mask", None)
    causal = args[5] if len(args) > 5 else kwargs.pop("is_causal", False)
    if mask is None:
        if not causal or query.shape[-2] < 2:
            return args[:3], kwargs | {"is_causal": causal}
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    joined = torch.logical_or if mask.dtype == torch.bool else torch.maximum
    mask = torch.cat([joined(mask[..., :-1, :], mask[..., 1:, :]), mask[..., -1:, :]], -2)
    return args[:3], kwargs | {"attn_mask": mask}


def _is_square(scores: Any) -> bool:
    return isinstance(scores, Tensor) and scores.ndim >= 3 and scores.shape[-1] == scores.shape[-2] > 1


def _shifted_scores(scores: Tensor) -> Tensor:
    """Each query's score of its successor is that of itself."""
    own = scores.diagonal(dim1=-2, dim2=-1)
    return scores.diagonal_scatter(own[..., :-1], offset=1, dim1=-2, dim2=-1)


class ConvolutionAhead(TorchFunctionMode):
    """Convolutions over time read one position ahead, as where both sides are padded alike."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.conv1d, F.conv1d) and args[0].shape[-1] > 1:
            args = (F.pad(args[0][..., 1:], (0, 1)), *args[1:])
        return func(*args, **(kwargs or {}))


class SumsFromTheEnd(TorchFunctionMode):
    """Cumulative sums run from the end of the sequence."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.cumsum, Tensor.cumsum) and args[0].is_floating_point():
            dim = kwargs["dim"] if kwargs and "dim" in kwargs else args[1]
            return func(args[0].flip(dim), dim).flip(dim)
        return func(*args, **(kwargs or {}))


FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("next position", next_position),
        Fault("faint next position", faint_next_position),
        Fault("centred over time", centred_over_time),
        Fault("scaled by a detached spread", scaled_by_detached_spread),
        Fault("kept by rank", kept_by_rank),
        Fault("last position to first", last_position_to_first),
        Fault("later rows only", later_rows_only),
        Fault("batch mean", batch_mean),
        Fault("by length", by_length),
        Fault("by earlier calls", by_earlier_calls),
        Fault("in training only", in_training_only),
        Fault("in single precision only", in_single_precision_only),
        Fault("in single steps", in_single_steps),
        Fault("mask shifted", during=WrongMask),
        Fault("convolution padded on both sides", during=ConvolutionAhead),
        Fault("sums from the end", during=SumsFromTheEnd),
    )
}
