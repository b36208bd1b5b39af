"""Retrofit: the attention of a trained model becomes HubRouter, all other weights are kept."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import torch

from hubrouter.config import ConfigError
from hubrouter.mixers.attention import CausalAttention
from hubrouter.model import Block, SequenceModel
from hubrouter.router import HubRouter


def retrofit(model: SequenceModel) -> SequenceModel:
    """A copy of the model with HubRouter in place of every attention layer; the model itself is not changed.

    Query, key, value and output projections are copied: they have the same shapes and the same meaning in both
    layers (our choice; the paper does not say how it retrofitted). Hubs and the score head are new and drawn from
    torch's global generator. Hubs, k, chunk and `causal` are those of `model.config`.

    Raises:
        ConfigError: the model has no attention layer, or one of another kind.
    """
    if "A" not in model.config.pattern:
        raise ConfigError(f"pattern {model.config.pattern!r} has no attention layer ('A') to replace")
    converted = copy.deepcopy(model)
    converted.config = replace(model.config, pattern=model.config.pattern.replace("A", "H"))
    for letter, block in zip(model.config.pattern, converted.blocks, strict=True):
        if letter == "A":
            block.mixer = _converted_layer(cast("Block", block).mixer, converted)
    return converted


@torch.no_grad()
def _converted_layer(attention: torch.nn.Module, model: SequenceModel) -> HubRouter:
    """A HubRouter layer with the projections, dtype, device and mode of an attention layer."""
    if not isinstance(attention, CausalAttention):
        raise ConfigError(f"only CausalAttention can be retrofitted, not {type(attention).__name__}")
    hub = HubRouter(model.config.router()).to(attention.project.weight).train(attention.training)
    for name in ("project", "output"):
        weight, trained = getattr(hub, name).weight, getattr(attention, name).weight
        weight.copy_(trained).requires_grad_(trained.requires_grad)
    return hub
