"""Retrofit: the attention of a trained model becomes HubRouter, everything else stays as it was trained."""

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
    """A copy of the model with HubRouter in place of every attention layer; the model itself stays as it is.

    Query, key, value and output projections are taken over: they have the same shapes and the same meaning in both
    layers (our choice; the paper does not say how it retrofitted). Hubs and the score head are new and drawn from
    torch's global generator. Hubs, k, chunk and `causal` are those of `model.config`.

    Raises:
        ConfigError: the model has no attention layer, or one of another kind.
    """
    if "A" not in model.config.pattern:
        raise ConfigError(f"pattern {model.config.pattern!r} has no attention layer ('A') to replace")
    adopted = copy.deepcopy(model)
    adopted.config = replace(model.config, pattern=model.config.pattern.replace("A", "H"))
    for letter, block in zip(model.config.pattern, adopted.blocks, strict=True):
        if letter == "A":
            block.mixer = _adopt(cast("Block", block).mixer, adopted)
    return adopted


@torch.no_grad()
def _adopt(attention: torch.nn.Module, model: SequenceModel) -> HubRouter:
    """A HubRouter layer with the projections, dtype, device and mode of an attention layer."""
    if not isinstance(attention, CausalAttention):
        raise ConfigError(f"only CausalAttention can be retrofitted, not {type(attention).__name__}")
    hub = HubRouter(model.config.router()).to(attention.project.weight).train(attention.training)
    for name in ("project", "output"):
        weight, trained = getattr(hub, name).weight, getattr(attention, name).weight
        weight.copy_(trained).requires_grad_(trained.requires_grad)
    return hub
