"""Where the time of the layer's forward and backward pass goes, by kind of operation, from torch's profiler.

Every call of torch is labelled with the file of the layer that makes it; an operation of the backward pass has the
label of the forward one whose sequence number it carries.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile, record_function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import hubrouter
from audits.experiments.bench._floor import Shape
from audits.formatting import Table, number, percent
from hubrouter import HubRouter, RouterConfig

KINDS = (
    "projections",
    "council attention",
    "hub products",
    "rotation",
    "cat and copies",
    "gather and its backward",
    "rest",
)
STEPS = 3  # that count, after one that does not
DTYPES = ("float32", "bfloat16")
_LABEL = "file of the layer: "
_BACKWARD = "autograd::engine::evaluate_function"
_FOLDER = str(Path(hubrouter.__file__).parent)
_PROJECTIONS = "projections"
_WHOLE = {_PROJECTIONS: _PROJECTIONS, "rotary": "rotation", "attend": "council attention"}  # all that is done there
_HUBS = ("encode", "decode")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_softmax", "_softmax_backward_data")
_COPIES = ("cat", "copy_", "clone", "stack", "constant_pad_nd", "fill_")
_GATHERS = ("index", "gather", "embedding", "scatter")


@dataclass(frozen=True)
class Profile:
    """Wall-clock seconds of a step at n tokens, and the shares of the kinds in them, which add up to 1."""

    n: int
    dtype: str
    seconds: float
    shares: Mapping[str, float]


def profiles(shape: Shape, n: int) -> tuple[Profile, ...]:
    """The reference implementation at n tokens on the CPU in one thread, in each dtype."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return tuple(_of_shape(replace(shape, dtype=dtype), n) for dtype in DTYPES)
    finally:
        torch.set_num_threads(threads)


def _of_shape(shape: Shape, n: int) -> Profile:
    sizes, dtype = asdict(shape), getattr(torch, shape.dtype)
    del sizes["batch"], sizes["dtype"]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layer, x = HubRouter(RouterConfig(**sizes)).to(dtype), torch.randn(shape.batch, n, shape.d_model, dtype=dtype)
    return profiled(layer, x)


def profiled(layer: HubRouter, x: Tensor) -> Profile:
    """Forward and backward of a layer on [B, N, D]."""
    spent = dict.fromkeys(KINDS, 0.0)
    for name, label, seconds in spans(layer, x):
        spent[_kind(name, label)] += seconds
    total = sum(spent.values())
    shares = {kind: taken / total for kind, taken in spent.items()}
    return Profile(x.shape[1], str(x.dtype).removeprefix("torch."), total / STEPS, shares)


def spans(layer: HubRouter, x: Tensor) -> list[tuple[str, str, float]]:
    """Name, label and own seconds of every operation of `STEPS` steps."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes lines of its own
    x, gradient = x.detach().requires_grad_(), torch.randn_like(x)
    layer(x).backward(gradient)
    with profile() as seen, _Labelled(layer):
        for _ in range(STEPS):
            layer(x).backward(gradient)
    events = sorted(seen.function_events or (), key=lambda event: event.time_range.start)
    labels = _forward_labels(events)
    return [(event.name, _label(event, labels), event.self_cpu_time_total / 1e6) for event in events]


def profile_table(found: Sequence[Profile]) -> Table:
    """A row a kind, a column a dtype."""
    rows = [(kind, *(percent(one.shares[kind]) for one in found)) for kind in KINDS]
    rows.append(("seconds of a step, profiled", *(number(one.seconds) for one in found)))
    title = f"Where the time of forward + backward goes on this CPU: hub/reference, n = {found[0].n}, one thread"
    return Table(title, ("kind", *(one.dtype for one in found)), tuple(rows))


class _Labelled(TorchFunctionMode):
    """Names, around each call of torch, the file of the layer it was made in, or that it is one of the projections."""

    def __init__(self, layer: HubRouter) -> None:
        super().__init__()
        parts = (part for part in (layer.project, layer.output) if isinstance(part, nn.Linear))
        self.weights = {id(part.weight) for part in parts}

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        projects = func is F.linear and id(args[1]) in self.weights
        with record_function(_LABEL + (_PROJECTIONS if projects else _calling_file())):
            return func(*args, **(kwargs or {}))


def _calling_file() -> str:
    frame: Any = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(_FOLDER):
        frame = frame.f_back
    return "" if frame is None else Path(frame.f_code.co_filename).stem


def _forward_labels(events: Sequence[Any]) -> dict[int, str]:
    """Sequence number -> label of the last operation with it: those without gradient carry the number of the next.

    An operator with a backward pass of its own has the label of the calls within it.
    """
    labels: dict[int, str] = {}
    for event in events:
        part = event.cpu_parent if event.name.startswith(_LABEL) else event
        if part is not None and part.sequence_nr >= 0 and (label := _label(event, {})):
            labels[part.sequence_nr] = label
    return labels


def _label(event: Any, labels: Mapping[int, str]) -> str:
    """The label around an operation, or of the forward operation of whose backward it is a part; empty without any."""
    while event is not None:
        if event.name.startswith(_LABEL):
            return str(event.name).removeprefix(_LABEL)
        if event.name.startswith(_BACKWARD):
            return labels.get(event.sequence_nr, "")
        event = event.cpu_parent
    return ""


def _kind(name: str, label: str) -> str:
    """The kind of an operation of this name that has this label; what copies or gathers does so nearly anywhere."""
    word = name.removeprefix("aten::")
    if label in _WHOLE:
        return _WHOLE[label]
    if word.startswith(_GATHERS):
        return "gather and its backward"
    if word in _COPIES:
        return "cat and copies"
    return "hub products" if label in _HUBS and word in _PRODUCTS else "rest"
