"""The implementations of one layer: the reference, which is the specification, and others that must equal it.

Each of the others is a module with an `IMPLEMENTATION`, imported when a layer first uses it; `hubrouter` itself needs
torch only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

MODULES = {"compiled": "hubrouter.compiled", "triton": "hubrouter.kernels.layer"}


@dataclass(frozen=True)
class Implementation:
    """Another way to compute a layer.

    Attributes:
        prepare: raises ConfigError for a RouterConfig that cannot be computed this way.
        forward: `HubRouter.forward` as (layer, x, valid); padding in x is zero already.
        stream: `HubRouter.stream` as (layer, x, state).
    """

    prepare: Callable[[Any], None]
    forward: Callable[[Any, Any, Any], Any]
    stream: Callable[[Any, Any, Any], Any]


def implementation(impl: str) -> Implementation:
    """The implementation of this name, which is not "reference"."""
    return cast("Implementation", importlib.import_module(MODULES[impl]).IMPLEMENTATION)
