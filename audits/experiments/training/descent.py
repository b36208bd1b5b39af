"""One step of an optimiser, the same for whatever is trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, *, rate: float | None = None, clip: float = 1.0) -> float:
    """Update by the loss; the norm of all gradients before clipping. The step is left out where it is not finite.

    Args:
        optimizer: of the parameters.
        loss: a scalar.
        rate: the learning rate of this step; None leaves it as it is.
        clip: the largest norm.
    """
    for group in optimizer.param_groups if rate is not None else ():
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(trained, clip))
    if math.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
