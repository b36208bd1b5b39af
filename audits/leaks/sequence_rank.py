"""Every token receives the rank of its value among the whole sequence."""

from __future__ import annotations

from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

LEVELS = 64  # steps a unit of value: equal tokens must tie exactly, whatever the rounding of each matrix product


class PrefixRank(nn.Module):
    """A vector scaled by the logarithm of the token's rank, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(WIDTH, 1)
        self.direction = nn.Linear(1, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Count the lower values among the rivals of each token; counting carries no gradient."""
        value = (self.value(x) * LEVELS).round()
        lower = (value.mT < value) & self.rivals(x)
        y: Tensor = self.direction(lower.sum(2, keepdim=True).to(x.dtype).log1p())
        return y

    def rivals(self, x: Tensor) -> Tensor:
        """Whom a token is compared with: bool [N, N], the tokens up to itself."""
        return ~future(x.shape[1], x.device)


class SequenceRank(PrefixRank):
    """The same with the rank in the whole sequence."""

    def rivals(self, x: Tensor) -> Tensor:
        """All tokens: the planted defect."""
        return ~future(1, x.device)


def leaky() -> nn.Module:
    """The model that ranks in the whole sequence."""
    return token_model(SequenceRank)


def clean() -> nn.Module:
    """The model that ranks in the sequence so far."""
    return token_model(PrefixRank)


LEAK = PlantedLeak(
    name="sequence_rank",
    mechanism="Every token receives the rank of its value in the whole sequence, a count without a gradient.",
    origin="our own attack: on gradient checks; the mechanism behind sorting and percentile features",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
