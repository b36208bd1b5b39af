"""Thompson sampling (Agrawal and Goyal, 2013): the value under parameters drawn from their posterior."""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter.diagnostic.bandits.ridge import LinearBandit
from hubrouter.shapes import Float

SPREAD = 0.5  # standard deviation of the posterior relative to A⁻¹ (our choice)


class Thompson(LinearBandit):
    """θ drawn once a round from N(θ̂, v² A⁻¹)."""

    def optimistic(self, contexts: Float[Tensor, "A D"]) -> Float[Tensor, " A"]:
        """Values under the draw."""
        root = torch.linalg.cholesky(self.inverse + 1e-12 * torch.eye(len(self.sum), dtype=torch.float64))
        noise = torch.randn(len(self.sum), generator=self.generator, dtype=torch.float64)
        drawn: Tensor = self.estimate + SPREAD * root @ noise
        return contexts @ drawn


BANDIT = Thompson
