"""Which operations a call carries out, so that two calls can be told to have taken the same path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# Casting and copying are what another dtype is expected to change.
CASTS = ("_to_copy", "clone", "copy_", "detach", "alias", "lift_fresh")
OPEN = ("aten", "prims")  # namespaces of torch itself: the same operation does the same in every dtype


class _Log(TorchDispatchMode):
    """Collects the names of operations, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        self.names: list[str] = []
        self.opaque = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        self.opaque = self.opaque or func.namespace not in OPEN
        if name not in CASTS:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], object]) -> tuple[str, ...] | None:
    """The operations of a call, without casts and copies; None if one of them is a kernel nobody can look into."""
    with _Log() as log:
        call()
    return None if log.opaque else tuple(log.names)
