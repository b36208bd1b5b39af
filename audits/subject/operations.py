"""Which operations a call performs, by dispatch modes that record them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Casting and copying are what another dtype is expected to change.
CASTS = ("_to_copy", "clone", "copy_", "detach", "alias", "lift_fresh")
TORCH = ("aten", "prims")  # namespaces of torch itself: the same operation does the same in every dtype


class DispatchMode(TorchDispatchMode):
    """Base of all dispatch modes of this project.

    torch imports its compiler, which takes seconds, to exempt `__torch_dispatch__` from compilation. While a subject is
    called nothing is compiled (see `eager`), so these modes need no exemption.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it unannotated

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _OperationRecorder(DispatchMode):
    """Records the names of operations, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.opaque = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        self.opaque = self.opaque or func.namespace not in TORCH
        if name not in CASTS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


class CoarseResultRecorder(DispatchMode):
    """Records dtype and checksum of every result of a coarser dtype than float64, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[tuple[torch.dtype, float]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output: Any = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float64:
                self.results.append((tensor.dtype, float(tensor.detach().double().nan_to_num().sum())))
        return output


def operations(call: Callable[[], object]) -> tuple[str, ...] | None:
    """The operations of a call, without casts and copies; None if one of them is an opaque custom kernel."""
    with _OperationRecorder() as recorder:
        call()
    return None if recorder.opaque else tuple(recorder.names)
