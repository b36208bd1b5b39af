"""`impl="triton"`: the layer through the kernels, between the two projections that stay matrix products of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubrouter.implementations import Implementation
from hubrouter.kernels.runnable import require_device, require_sizes

if TYPE_CHECKING:
    from torch import Tensor

    from hubrouter.config import RouterConfig
    from hubrouter.router import HubRouter, RouterState


def prepare(config: RouterConfig) -> None:
    """Raises ConfigError for sizes that the kernels do not take, and without triton."""
    require_sizes(config)


def forward(layer: HubRouter, x: Tensor, valid: Tensor | None) -> Tensor:
    """[B, N, D] to [B, N, D]; ConfigError where kernels cannot run on the device of x."""
    require_device(x)
    from hubrouter.kernels.route import route

    config, head = layer.config, layer.score.head
    qkv = layer.project(x).view(*x.shape[:2], 3, config.n_heads, config.head_width)
    settings = (config.k, config.chunk, config.neighbours, config.rope_base)
    mixed, *_ = route(qkv, layer.encode.hubs, head.weight, head.bias, valid, *settings)
    output: Tensor = layer.output(mixed.flatten(2))
    return output


def stream(layer: HubRouter, x: Tensor, state: RouterState | None) -> tuple[Tensor, RouterState]:
    """The next tokens of a stream, without gradients; ConfigError where kernels cannot run on the device of x."""
    require_device(x)
    from hubrouter.kernels.stream import streamed

    return streamed(layer, x, state)


IMPLEMENTATION = Implementation(prepare, forward, stream)
