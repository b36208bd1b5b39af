"""From where in the sequence the hub layers of a model select: shares of slots by chunk."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hubrouter import HubRouter, SequenceModel

LENGTHS = (1024, 8192)  # tokens; models are trained on shorter sequences


def selection_shares(model: SequenceModel, tokens: Tensor) -> list[dict[str, Any]]:
    """For each length that the tokens, int64 [>= N], suffice for, and each strictly causal hub layer, shares of slots.

    `first` is the share of filled slots that hold tokens of the first chunk, `eighth` of the first eighth of the
    sequence, `half` of its second half. `uniform` has the same three for slots filled at random from the past.
    """
    return [
        {"n": n, "layer": number, **_shares(layer.selected(x), layer.config.chunk)}
        for n in LENGTHS
        if len(tokens) >= n
        for number, (layer, x) in enumerate(hub_inputs(model, tokens[None, :n]))
    ]


@torch.no_grad()
def hub_inputs(model: SequenceModel, tokens: Tensor) -> list[tuple[HubRouter, Tensor]]:
    """Each hub layer with its input."""
    found: list[tuple[HubRouter, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda layer, given: found.append((layer, given[0])))
        for module in model.modules()
        if isinstance(module, HubRouter) and module.config.causal
    ]
    try:
        model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _shares(position: Tensor, chunk: int) -> dict[str, Any]:
    """Of positions [1, G, K], -1 where a slot is empty."""
    chunks = position.shape[1]
    home = position[position >= 0] // chunk
    share = torch.bincount(home, minlength=chunks).double() / max(1, len(home))
    # A slot before chunk g is filled from chunks 0 ... g-1, each with the same probability.
    filled = (position >= 0).sum((0, 2)).double()
    by_chance = torch.stack([(filled[g + 1 :] / torch.arange(g + 1, chunks)).sum() for g in range(chunks)])
    return {**_summary(share), "uniform": _summary(by_chance / by_chance.sum().clamp_min(1))}


def _summary(share: Tensor) -> dict[str, float]:
    chunks = len(share)
    return {
        "first": round(float(share[0]), 4),
        "eighth": round(float(share[: max(1, chunks // 8)].sum()), 4),
        "half": round(float(share[chunks // 2 :].sum()), 4),
    }
