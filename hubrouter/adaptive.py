"""Adaptive M: hubs with gates that training can close, so that their number is chosen by data.

The paper leaves open how to choose M. The scheme is our choice, and deterministic: training and evaluation agree.

1. Build the layer with as many hubs as may be needed and `adaptive_hubs=True`. Each hub then has a gate in [0, 1], the
   same in all heads, by which its weight in every fingerprint is multiplied. All are open at first.
2. Add `open_hubs(model)`, times a price, to the loss: a hub whose use does not pay for its price closes. At 0 it is
   closed for ever: no token reads it, and no gradient reaches it. Gates are relative to the largest, so one stays open.
3. `prune_hubs(model)` removes the closed hubs; the smaller model computes the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from hubrouter.config import ConfigError
from hubrouter.shapes import Float

if TYPE_CHECKING:
    from hubrouter.router import HubRouter


class HubGates(nn.Module):
    """One gate a hub: 1 + its level - the largest level, at least 0. The gradient of a closed gate is 0."""

    def __init__(self, hubs: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(hubs))

    def gates(self) -> Float[Tensor, " M"]:
        """The gates, in [0, 1]."""
        return (1 + self.level - self.level.max()).clamp_min(0)

    def forward(self) -> Float[Tensor, " M"]:
        """Their logarithms, by which the logits of fingerprints are raised; -inf for a closed gate."""
        gates = self.gates()
        return gates.masked_fill(gates == 0, 1).log().masked_fill(gates == 0, float("-inf"))


def open_hubs(model: nn.Module) -> Tensor:
    """The sum of the gates of a layer, averaged over layers: a differentiable scalar in [1, M].

    Raises:
        ConfigError: no layer of the model has gates.
    """
    return torch.stack([gates.gates().sum() for gates in _gated(model)]).mean()


def hub_counts(model: nn.Module) -> tuple[int, ...]:
    """How many hubs of each gated layer are not closed; ConfigError where no layer has gates."""
    return tuple(int((gates.gates() > 0).sum()) for gates in _gated(model))


@torch.no_grad()
def prune_hubs(model: nn.Module) -> None:
    """Remove the closed hubs of every layer, in place; outputs stay equal up to rounding.

    Layers may then have different M, which `RouterConfig` of each says and no `ModelConfig` can: keep the weights from
    before as well if they are to be loaded into a model built from its configuration. A running stream and the
    optimiser's state do not fit any more.

    Raises:
        ConfigError: no layer of the model has gates.
    """
    _gated(model)
    for module in list(model.modules()):
        if isinstance(getattr(module, "gates", None), HubGates):
            _prune(cast("HubRouter", module))


def _prune(layer: HubRouter) -> None:
    gates, head, config = cast("HubGates", layer.gates), layer.score.head, layer.config
    kept, before = gates.gates() > 0, config.n_hubs
    ratio = before / int(kept.sum())
    # The score sees M f - 1 of each hub, -1 where f is 0: what M and the closed hubs contribute moves to the weights.
    weight = head.weight.view(config.n_heads, before)
    head.bias.add_(((ratio - 1) * weight[:, kept]).sum() - weight[:, ~kept].sum())
    head.weight = nn.Parameter((ratio * weight[:, kept]).reshape(1, -1), head.weight.requires_grad)
    layer.encode.hubs = nn.Parameter(layer.encode.hubs[:, kept].clone(), layer.encode.hubs.requires_grad)
    gates.level = nn.Parameter(gates.level[kept].clone(), gates.level.requires_grad)
    head.in_features = head.weight.shape[1]
    layer.config = replace(config, n_hubs=int(kept.sum()))


def _gated(model: nn.Module) -> list[HubGates]:
    found = [module for module in model.modules() if isinstance(module, HubGates)]
    if not found:
        raise ConfigError("no layer has gates on its hubs: build the model with adaptive_hubs=True")
    return found
