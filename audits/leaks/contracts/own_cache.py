"""A cache under a name of its own, from which the model continues with the wrong count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audits.leaks.contracts._parts import VOCAB, WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

Memory = tuple[Tensor, int]  # the sum [B, 1, D] of what was seen, and how many it is of


class MeanModel(nn.Module):
    """Tokens [B, N] and what was seen before them to scores [B, N, V], and what has been seen then."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor, seen: Memory | None = None) -> dict[str, Tensor | Memory]:
        """Scores from the mean of all tokens so far."""
        x = self.embedding(tokens)
        before, count = (torch.zeros_like(x[:, :1]), 0) if seen is None else seen
        sums = before + x.cumsum(1)
        counts = torch.arange(1, x.shape[1] + 1, device=x.device) + self.start(count)
        means = sums / counts[:, None]
        return {"scores": self.head(means.tanh()), "now_seen": (sums[:, -1:], count + x.shape[1])}

    def start(self, count: int) -> int:
        """How many tokens came before."""
        return count


class MiscountingModel(MeanModel):
    """The same, continued wrongly."""

    def start(self, count: int) -> int:
        """One too few, once there is any: the planted defect."""
        return max(0, count - 1)


LEAK = ContractLeak(
    name="own_cache",
    mechanism="Decoding from the cache divides by one token too few, so its outputs are not those of one pass.",
    leaky=lambda: seeded(MiscountingModel),
    clean=lambda: seeded(MeanModel),
    contract=Contract(cache="seen=now_seen", output="scores"),
    line="torch.arange(1, x.shape[1] + 1",
    vocab_size=VOCAB,
)
