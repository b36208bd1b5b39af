"""A penalty that makes the hubs of a head orthogonal ("orthogonal regularisation", arXiv:2604.22442)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import ConfigError
from hubrouter.encode import Encode


def hub_orthogonality(model: nn.Module) -> Tensor:
    """How far the hubs are from orthogonal: a differentiable scalar, to be added to the loss with a weight.

    For each head the hub embeddings are normalised; the penalty is the mean square of the M (M - 1) off-diagonal
    entries of their Gram matrix (cosines): 0 for orthogonal hubs, 1 for parallel ones, and 0 with one hub. It is
    averaged over heads and layers. The paper prints no formula; this one is our choice. M hubs of width E < M cannot
    all be orthogonal: the least penalty is then (M / E - 1) / (M - 1) (Welch's bound), not 0.

    Args:
        model: any module with HubRouter layers.

    Raises:
        ConfigError: it has none.
    """
    layers = [_of_layer(module.hubs) for module in model.modules() if isinstance(module, Encode)]
    if not layers:
        raise ConfigError("the model has no HubRouter layer, so no hubs to keep apart")
    return torch.stack(layers).mean()


def _of_layer(hubs: Tensor) -> Tensor:
    """The penalty of hubs [H, M, E]."""
    count = hubs.shape[1]
    unit = F.normalize(hubs, dim=-1)
    cosines = (unit @ unit.mT).masked_fill(torch.eye(count, dtype=torch.bool, device=hubs.device), 0)
    return cosines.square().sum((1, 2)).mean() / max(1, count * (count - 1))
