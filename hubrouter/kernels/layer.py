"""`impl="triton"`: the layer through the kernels, between the two projections, which are matrix products of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from hubrouter.implementations import Implementation
from hubrouter.kernels.runnable import require_device, require_sizes

if TYPE_CHECKING:
    from hubrouter.config import RouterConfig
    from hubrouter.router import HubRouter
    from hubrouter.state import RouterState


class Routed(NamedTuple):
    """The outputs of `hubrouter::route`; only `mixed` has a gradient."""

    mixed: Tensor  # [B, N, H, E]
    score: Tensor  # [B, N]
    state: Tensor  # normalised hub states before every chunk, [B·H, G, M, E]
    peak: Tensor
    total: Tensor
    chosen: Tensor  # keys of the selected tokens before every chunk, [B, G, K]
    logsum: Tensor
    keys: Tensor  # rotated, [B, N, H, E]
    mean: Tensor  # subtracted from hub states, [B·H, G, E]
    spread: Tensor  # what they were divided by, [B·H, G]
    last_weighted: Tensor  # the hubs' weighted sums before the last chunk, [B·H, M, E]


def prepare(config: RouterConfig) -> None:
    """Raise ConfigError for sizes that the kernels do not support, and without triton."""
    require_sizes(config)


def between(layer: HubRouter, projected: Tensor, valid: Tensor | None) -> Routed:
    """Everything between the two projections, from the output of the first, [B, N, 3D].

    Raises:
        ConfigError: kernels cannot run on the device of the tensor.
    """
    require_device(projected, layer.config)
    from hubrouter.kernels.route import route  # imports triton

    config, head = layer.config, layer.score.head
    qkv = projected.unflatten(-1, (3, config.n_heads, config.head_width))
    settings = (config.slots, config.chunk, config.neighbours, config.rope_base, config.causal)
    switched = (config.reads_chunk, config.readout, layer.log_gate)
    ranking = layer.select.ranked_by_position(0, qkv.shape[1], qkv.device)
    return Routed(*route(qkv, layer.encode.hubs, head.weight, head.bias, valid, *settings, *switched, ranking))


def forward(layer: HubRouter, x: Tensor, valid: Tensor | None) -> Tensor:
    """[B, N, D] to [B, N, D]."""
    output: Tensor = layer.output(between(layer, layer.project(x), valid).mixed.flatten(2))
    return output


def stream(layer: HubRouter, x: Tensor, state: RouterState | None) -> tuple[Tensor, RouterState]:
    """The next tokens of a stream, without gradients."""
    require_device(x, layer.config)
    from hubrouter.kernels.stream import streamed

    return streamed(layer, x, state)


IMPLEMENTATION = Implementation(prepare, forward, stream)
