"""What linear bandits share: ridge regression of rewards on contexts, updated one context at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hubrouter.shapes import Float, Int

REGULARISATION = 1.0  # λ


class LinearBandit(ABC):
    """Arms have contexts x [D]; the reward of an arm is modelled as θ·x plus noise.

    Args:
        width: D.
        generator: of the random numbers drawn while picking.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        self.inverse = torch.eye(width, dtype=torch.float64) / REGULARISATION  # (λ + Σ x xᵀ)⁻¹
        self.sum = torch.zeros(width, dtype=torch.float64)  # Σ reward x
        self.rounds, self.generator = 0, generator

    @property
    def estimate(self) -> Float[Tensor, " D"]:
        """θ̂."""
        return self.inverse @ self.sum

    @abstractmethod
    def optimistic(self, contexts: Float[Tensor, "A D"]) -> Float[Tensor, " A"]:
        """The values by which arms are picked while learning."""

    def pick(self, contexts: Float[Tensor, "A D"], count: int) -> Int[Tensor, " K"]:
        """The arms to try."""
        return self.optimistic(contexts).topk(count).indices

    def learn(self, contexts: Float[Tensor, "K D"], rewards: Float[Tensor, " K"]) -> None:
        """Update the estimate with the rewards of the picked arms (Sherman and Morrison's formula)."""
        for x, reward in zip(contexts, rewards, strict=True):
            direction = self.inverse @ x
            self.inverse -= torch.outer(direction, direction) / (1 + x @ direction)
            self.sum += reward * x
        self.rounds += 1

    def width_of(self, contexts: Float[Tensor, "A D"]) -> Float[Tensor, " A"]:
        """The uncertainty of the value of an arm: √(xᵀ A⁻¹ x)."""
        return torch.einsum("ad,de,ae->a", contexts, self.inverse, contexts).clamp_min(0).sqrt()
