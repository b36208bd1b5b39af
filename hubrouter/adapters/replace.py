"""Replaces attention modules of a Hugging Face model by HubRouter layers, for instance to make a Hub-Jamba."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hubrouter.adapters.errors import AdapterError
from hubrouter.adapters.huggingface import HubAttention
from hubrouter.config import RouterConfig
from hubrouter.router import HubRouter

ATTENTION = "self_attn"  # the attribute of a Llama or Jamba block that is its attention
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


def replace_attention(
    model: nn.Module,
    router: RouterConfig | None = None,
    layers: Iterable[int] | None = None,
    *,
    from_projections: bool = False,
) -> tuple[int, ...]:
    """Replace the attention of some blocks by HubRouter layers, in place.

    Args:
        model: a Llama or Jamba model, or one whose blocks have their attention in `self_attn` as well.
        router: the configuration of the layers; None takes width, heads and rotary base from the model's config.
        layers: numbers of the blocks; None means every block that has attention.
        from_projections: initialise from the q, k, v and o projections, with the heads of grouped keys and values
            expanded; hubs and score head are always new. The keys keep their meaning only with the model's rotary base.

    Returns:
        The numbers of the blocks that changed.

    Raises:
        AdapterError: a block has no attention, or its attention does not fit the layer.
    """
    found = _attention_of(model)
    wanted = sorted(found if layers is None else set(layers))
    missing = [number for number in wanted if number not in found]
    if missing or not wanted:
        raise AdapterError(f"blocks {missing} have no attention with {PROJECTIONS}; blocks that have: {sorted(found)}")
    config = _router_of(model) if router is None else router
    # All are built before any is put in place, so that an error leaves the model unchanged.
    built = {number: _build(getattr(found[number], ATTENTION), config, number, from_projections) for number in wanted}
    for number, attention in built.items():
        setattr(found[number], ATTENTION, attention)
    return tuple(wanted)


def _attention_of(model: nn.Module) -> dict[int, nn.Module]:
    """Blocks with attention, by the `layer_idx` of their attention."""
    found: dict[int, nn.Module] = {}
    for block in model.modules():
        attention = getattr(block, ATTENTION, None)
        number = getattr(attention, "layer_idx", None)
        if number is None or not all(isinstance(getattr(attention, name, None), nn.Linear) for name in PROJECTIONS):
            continue
        if number in found:
            raise AdapterError(f"two blocks have the layer_idx {number}: pass one decoder at a time")
        found[number] = block
    return found


def _router_of(model: nn.Module) -> RouterConfig:
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "hidden_size") or not hasattr(config, "num_attention_heads"):
        raise AdapterError("the model has no config with hidden_size and num_attention_heads: pass a RouterConfig")
    rope = getattr(config, "rope_parameters", None) or {}
    base = rope.get("rope_theta") or getattr(config, "rope_theta", None) or RouterConfig.rope_base
    return RouterConfig(d_model=config.hidden_size, n_heads=config.num_attention_heads, rope_base=float(base))


def _build(attention: Any, config: RouterConfig, number: int, from_projections: bool) -> HubAttention:
    """The layer for one block, in the dtype and on the device of its attention."""
    width = attention.q_proj.in_features
    if config.d_model != width:
        raise AdapterError(f"block {number} has width {width}, and the router d_model={config.d_model}")
    weight = attention.q_proj.weight
    router = HubRouter(config).to(dtype=weight.dtype, device=weight.device)
    if from_projections:
        _copy_projections(attention, router, number)
    return HubAttention(router, number).train(attention.training)


@torch.no_grad()
def _copy_projections(attention: Any, router: HubRouter, number: int) -> None:
    extra = {name for name, _ in attention.named_parameters()} - {f"{name}.weight" for name in PROJECTIONS}
    if extra:
        raise AdapterError(f"the attention of block {number} has {sorted(extra)}, which HubRouter does not have")
    width, config = getattr(attention, "head_dim", None), router.config
    if width != config.head_width or attention.q_proj.out_features != config.d_model:
        raise AdapterError(
            f"block {number} has heads of width {width}, and the router of {config.head_width}: give it the model's "
            f"number of heads, or do not set from_projections"
        )
    weights = [_expanded(getattr(attention, name).weight, config) for name in PROJECTIONS[:3]]
    router.project.weight.copy_(torch.cat(weights))
    router.output.weight.copy_(attention.o_proj.weight)


def _expanded(weight: Tensor, config: RouterConfig) -> Tensor:
    """Rows of grouped heads, repeated for each head that uses them: [H·E, D]."""
    heads = weight.shape[0] // config.head_width
    rows: Tensor = weight.unflatten(0, (heads, -1)).repeat_interleave(config.n_heads // heads, dim=0)
    return rows.flatten(0, 1)
