"""The interface of routers: modules that score units for the query of each sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.diagnostic.scores import Scores, route_loss
from hubrouter.shapes import Float, Int


class Router(nn.Module, ABC):
    """Scores for representations [B, N, D] and a batch of questions."""

    @abstractmethod
    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """Scores of every unit for the query."""

    def reading(self, asked: Reading) -> Reading:
        """What is read by these scores; `asked` is the reading of the task."""
        return asked

    def loss(self, scores: Scores, h: Float[Tensor, "B N D"], batch: Batch) -> Tensor:  # noqa: ARG002
        """The training loss of the router, in nats."""
        return route_loss(scores, batch)


def at(h: Float[Tensor, "B N D"], position: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
    """The row of each sequence at its position."""
    return h[torch.arange(len(h), device=h.device), position]
