"""Runs models as they are written: no hook and no tracer sees into a graph that torch.compile made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import torch

COMPILER = "torch._dynamo"


@contextmanager
def uncompiled() -> Iterator[None]:
    """While active, what goes through torch.compile runs uncompiled.

    As long as the compiler is not loaded nothing can be compiled, and loading it takes seconds. If the code inside
    loads it, compilation is disabled as soon as it is loaded.
    """
    with ExitStack() as stack:
        if COMPILER in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        else:
            finder = _AfterLoading(lambda: stack.enter_context(torch.compiler.set_stance("force_eager")))
            sys.meta_path.insert(0, finder)
            stack.callback(sys.meta_path.remove, finder)
        yield


class _AfterLoading(MetaPathFinder):
    """Finds the compiler as usual, and acts once it has been loaded."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, whose loader acts afterwards."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == COMPILER else None
        if spec is not None and spec.loader is not None:
            loader = spec.loader

            def load(module: ModuleType) -> None:
                del loader.exec_module
                loader.exec_module(module)
                self.action()

            loader.exec_module = load  # type: ignore[method-assign]
        return spec
