"""LinUCB (Li et al., 2010): the estimate plus a fixed multiple of its uncertainty."""

from __future__ import annotations

from torch import Tensor

from hubrouter.diagnostic.bandits.ridge import LinearBandit
from hubrouter.shapes import Float

ALPHA = 1.0  # our choice


class LinUcb(LinearBandit):
    """The upper bound: θ̂·x plus `ALPHA` times √(xᵀ A⁻¹ x)."""

    def optimistic(self, contexts: Float[Tensor, "A D"]) -> Float[Tensor, " A"]:
        """Upper confidence bounds."""
        return contexts @ self.estimate + ALPHA * self.width_of(contexts)


BANDIT = LinUcb
