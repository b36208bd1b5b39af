"""Which operations a call performs, by dispatch modes that record them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode

# Casting and copying are what another dtype is expected to change.
CASTS = ("_to_copy", "clone", "copy_", "detach", "alias", "lift_fresh")
TORCH = ("aten", "prims")  # namespaces of torch itself: the same operation does the same in every dtype


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


class _OperationRecorder(DispatchMode):
    """Records the names of operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.opaque = False

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func.__name__.partition(".")[0]
        self.opaque = self.opaque or func.namespace not in TORCH
        if name not in CASTS:
            self.names.append(name)
        return func(*args, **kwargs)


class _ResultRecorder(DispatchMode):
    """Records something of every floating result, in order."""

    def record(self, result: Tensor) -> None:
        """Take note of one."""

    def operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output: Any = func(*args, **kwargs)
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.numel():
                self.record(tensor.detach())
        return output


class CoarseResultRecorder(_ResultRecorder):
    """Records dtype and checksum of every result of a coarser dtype than float64."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[torch.dtype, float]] = []

    def record(self, result: Tensor) -> None:
        """The dtype and the sum of the finite elements."""
        if result.dtype != torch.float64:
            self.results.append((result.dtype, float(result.double().nan_to_num().sum())))


class SizeRecorder(_ResultRecorder):
    """Records the largest size of results, of each what nine in ten of its elements exceed: a mask is no size."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0.0

    def record(self, result: Tensor) -> None:
        """The tenth of the way from the smallest to the largest element."""
        size = result.double().nan_to_num(0, 0, 0).abs().flatten()
        self.largest = max(self.largest, float(size.kthvalue(len(size) // 10 + 1).values))


def operations(call: Callable[[], object]) -> tuple[str, ...] | None:
    """The operations of a call, without casts and copies; None if one of them is an opaque custom kernel."""
    with _OperationRecorder() as recorder:
        call()
    return None if recorder.opaque else tuple(recorder.names)
