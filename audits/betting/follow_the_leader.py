"""A strategy that chooses the fraction to bet for each position of the sequence by the gains there so far.

Many leaks affect few positions, the start of a chunk for instance, while training noise costs wealth everywhere. A
choice made from past batches alone is fixed before the next symbols are drawn, so the product of its factors is a
martingale too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DISCOUNT = 0.95  # weight of the mean over earlier batches against the latest batch (our choice)


@dataclass(frozen=True)
class FollowTheLeader:
    """Gain of each fraction at each position: discounted mean log factors [P, L] in nats; None before any batch."""

    mean_gain: Tensor | None = None

    def log_gain(self, gains: Tensor) -> Tensor:
        """The log gain of a batch with log factors [B, P, L] under the fractions that led before it; a scalar, in nats.

        At a position where no fraction has gained so far nothing is bet.
        """
        if self.mean_gain is None:
            return torch.zeros((), dtype=torch.float64)
        best = self.mean_gain.max(-1)
        chosen = gains.sum(0).gather(-1, best.indices[:, None])[:, 0]
        return chosen.where(best.values > 0, 0.0).sum()

    def after(self, gains: Tensor) -> FollowTheLeader:
        """The strategy once the batch with log factors [B, P, L] has been settled."""
        latest = gains.mean(0)
        return FollowTheLeader(
            latest if self.mean_gain is None else DISCOUNT * self.mean_gain + (1 - DISCOUNT) * latest
        )
