"""An hourglass whose input is shifted before downsampling, while the residual around the inner stage is not."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, CausalAttention, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

SPAN = 4  # tokens pooled into one


class Hourglass(nn.Module):
    """Causal attention between pooled spans, with a residual around it, [B, N, D] -> [B, N, D].

    A shift by SPAN - 1 makes each pooled span end with the first token it is broadcast to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inner = CausalAttention()

    def forward(self, x: Tensor) -> Tensor:
        """Pool to [B, ceil(N / SPAN), D], attend, broadcast back."""
        pooled = self.inner(self.pool(self.shift(x), x.shape[1])) + self.pool(self.residual(x), x.shape[1])
        y: Tensor = pooled.repeat_interleave(SPAN, dim=1)[:, : x.shape[1]]
        return y

    def pool(self, x: Tensor, n: int) -> Tensor:
        """Means of spans that cover n positions; missing positions count as zeros."""
        spans = -(-n // SPAN)
        padded = F.pad(x, (0, 0, 0, spans * SPAN - x.shape[1]))
        return padded.reshape(x.shape[0], spans, SPAN, -1).mean(2)

    def shift(self, x: Tensor) -> Tensor:
        """Delay by SPAN - 1 positions, [B, N + SPAN - 1, D]."""
        return F.pad(x, (0, 0, SPAN - 1, 0))

    def residual(self, x: Tensor) -> Tensor:
        """What goes around the inner stage: the delayed input too."""
        return self.shift(x)


class UnshiftedHourglass(Hourglass):
    """The same with the residual taken before the shift."""

    def residual(self, x: Tensor) -> Tensor:
        """The input as it is: the planted defect."""
        return x


def leaky() -> nn.Module:
    """The model whose residual is early."""
    return token_model(UnshiftedHourglass)


def clean() -> nn.Module:
    """The model whose residual is delayed like its input."""
    return token_model(Hourglass)


LEAK = PlantedLeak(
    name="unshifted_resampling_residual",
    mechanism="A token receives the mean of its whole span through the residual, which the causal shift left out.",
    origin="lucidrains/hourglass-transformer-pytorch",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
