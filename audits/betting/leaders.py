"""A gambler that chooses its share for each position of the sequence by what paid there before.

Many leaks live at few positions, at the start of a chunk for instance, while training noise costs everywhere. A choice
made from past batches alone is fixed before the next symbols come, so the product of its factors is a martingale too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

MEMORY = 0.95  # the weight of what was known before a batch against the batch itself (our choice)


@dataclass(frozen=True)
class Leaders:
    """What each share gained at each position: discounted mean log factors [P, L] in nats; None before any."""

    paid: Tensor | None = None

    def gain(self, gains: Tensor) -> Tensor:
        """The log gain of the batch with log factors [B, P, L] under the shares that led before it; a scalar, in nats.

        A position where nothing paid so far stakes nothing.
        """
        if self.paid is None:
            return torch.zeros((), dtype=torch.float64)
        best = self.paid.max(-1)
        taken = gains.sum(0).gather(-1, best.indices[:, None])[:, 0]
        return taken.where(best.values > 0, 0.0).sum()

    def after(self, gains: Tensor) -> Leaders:
        """The leaders once the batch [B, P, L] has been settled."""
        latest = gains.mean(0)
        return replace(self, paid=latest if self.paid is None else MEMORY * self.paid + (1 - MEMORY) * latest)
