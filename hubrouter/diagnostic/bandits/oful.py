"""OFUL (Abbasi-Yadkori et al., 2011): optimism with the confidence radius of their Theorem 2."""

from __future__ import annotations

import math

from torch import Tensor

from hubrouter.diagnostic.bandits.ridge import REGULARISATION, LinearBandit
from hubrouter.shapes import Float

NOISE, DELTA, BOUND = 0.1, 0.1, 1.0  # R, δ and S of the theorem (our choices)


class Oful(LinearBandit):
    """θ̂·x + β_t √(xᵀ A⁻¹ x), where β_t holds for all rounds with probability 1 - δ."""

    def optimistic(self, contexts: Float[Tensor, "A D"]) -> Float[Tensor, " A"]:
        """Upper confidence bounds, for contexts of length at most 1."""
        grown = 1 + self.rounds / (REGULARISATION * len(self.sum))
        radius = NOISE * math.sqrt(len(self.sum) * math.log(grown) + 2 * math.log(1 / DELTA))
        radius += math.sqrt(REGULARISATION) * BOUND
        return contexts @ self.estimate + radius * self.width_of(contexts)


BANDIT = Oful
