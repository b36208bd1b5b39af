"""`impl="compiled"`: the reference layer through `torch.compile`, as one graph for each length."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NoReturn

import torch

from hubrouter.config import ConfigError, RouterConfig
from hubrouter.implementations import Implementation

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hubrouter.router import HubRouter
    from hubrouter.state import RouterState


MAX_GRAPHS = 64  # in one process; more of them are an error


def prepare(config: RouterConfig) -> None:
    """Every configuration of the reference can be compiled."""


def forward(layer: HubRouter, x: Tensor, valid: Tensor | None) -> Tensor:
    """The reference layer, compiled; ConfigError where that fails, as without a C++ compiler or at too many lengths."""
    try:
        with torch._dynamo.config.patch(recompile_limit=MAX_GRAPHS):
            return _compiled()(layer, x, valid)
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as problem:
        raise ConfigError(
            f"impl='compiled' cannot be compiled: {str(problem).strip().splitlines()[0]}; or take impl='reference'"
        ) from problem


def stream(layer: HubRouter, x: Tensor, state: RouterState | None) -> NoReturn:  # noqa: ARG001
    """Refused: the sizes of pieces and states change with every token, and each would be compiled again."""
    raise ConfigError("impl='compiled' does not stream: take impl='reference' or 'triton'")


@cache
def _compiled() -> Callable[[HubRouter, Tensor, Tensor | None], Tensor]:
    """One graph without breaks; sizes are static, because the scans unroll over chunks."""
    return torch.compile(_reference, fullgraph=True, dynamic=False)


def _reference(layer: HubRouter, x: Tensor, valid: Tensor | None) -> Tensor:
    return layer.reference(x, valid)


IMPLEMENTATION = Implementation(prepare, forward, stream)
