"""Which operations a call performs, by dispatch modes that record them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

# Casting and copying are what another dtype is expected to change.
CASTS = ("_to_copy", "clone", "copy_", "detach", "alias", "lift_fresh")
TORCH = ("aten", "prims")  # namespaces of torch itself: the same operation does the same in every dtype
R = TypeVar("R")
T = TypeVar("T")


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [t for v in value for t in tensors_in(v)] if isinstance(value, (list, tuple)) else []


class DispatchMode(TorchDispatchMode):
    """Base of all dispatch modes of this project: subclasses say what `operation` does.

    Higher-order operators (FlexAttention, `cond`, `scan`) are run as the operations they are made of.

    torch imports its compiler, which takes seconds, to exempt `__torch_dispatch__` from compilation. While a subject is
    called nothing is compiled (see `eager`), so these modes need no exemption.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it unannotated

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(func, HigherOrderOperator):
            kernel = func.py_kernels[DispatchKey.CompositeExplicitAutograd]
            # Some of these kernels ask whether a mode is active, and refuse.
            with patch.dict(kernel.__globals__, _get_current_dispatch_mode=lambda: None), self:
                return kernel(*args, **(kwargs or {}))
        return self.operation(func, args, kwargs or {})

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operation."""
        raise NotImplementedError

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Ran(NamedTuple):
    """One operation that ran: the operator overload, its positional arguments and what it returned."""

    func: Any
    args: tuple[Any, ...]
    output: Any

    def floats(self) -> list[Tensor]:
        """The floating tensors among what it returned."""
        results = self.output if isinstance(self.output, (tuple, list)) else (self.output,)
        return [t.detach() for t in results if isinstance(t, Tensor) and t.is_floating_point() and t.numel()]


class _Recorder(DispatchMode, Generic[T]):
    """Runs every operation as it is and collects what is noted about it."""

    def __init__(self, note: Callable[[Ran], Iterable[T]]) -> None:
        super().__init__()
        self.note = note
        self.noted: list[T] = []

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        self.noted += self.note(Ran(func, args, output))
        return output


def record(call: Callable[[], R], note: Callable[[Ran], Iterable[T]]) -> tuple[R, list[T]]:
    """The result of a call, and what is noted about its operations, in their order."""
    recorder = _Recorder(note)
    with recorder:
        result = call()
    return result, recorder.noted


def operations(call: Callable[[], object]) -> tuple[str, ...] | None:
    """The operations of a call, without casts and copies; None if one of them is an opaque custom kernel."""
    _, names = record(call, lambda ran: [ran.func.__name__.partition(".")[0] if ran.func.namespace in TORCH else ""])
    return None if "" in names else tuple(name for name in names if name not in CASTS)


def coarse_results(call: Callable[[], object]) -> list[tuple[torch.dtype, float]]:
    """Dtype and sum of the finite elements of every result of a coarser dtype than float64.

    Numbers of eight bits are no arithmetic: casting to them is a function like rounding to integers.
    """

    def noted(ran: Ran) -> list[tuple[torch.dtype, float]]:
        coarse = (t for t in ran.floats() if t.itemsize > 1 and t.dtype != torch.float64)
        return [(t.dtype, float(t.double().nan_to_num().sum())) for t in coarse]

    return record(call, noted)[1]


def usual_size(result: Tensor) -> float:
    """What nine in ten of the elements of a result exceed: a mask is no size."""
    sizes = result.double().nan_to_num(0, 0, 0).abs().flatten()
    return float(sizes.kthvalue(len(sizes) // 10 + 1).values)
