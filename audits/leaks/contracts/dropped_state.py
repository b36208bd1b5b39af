"""A step function that loses the state between pieces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audits.leaks.contracts._parts import VOCAB, WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract, Stream


class Recurrent(nn.Module):
    """Tokens [B, N] to scores [B, N, V] by a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.layer = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """The whole sequence at once."""
        return self.extend(tokens, None)[0]

    def extend(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The scores of a piece, and the state after it."""
        hidden, state = self.layer(self.embedding(tokens), state)
        return self.head(hidden), state

    def kept(self, state: Tensor) -> Tensor:
        """What remains of a state for the next piece."""
        return state


class Forgetful(Recurrent):
    """The same, which starts every piece anew."""

    def kept(self, state: Tensor) -> Tensor:
        """Zeros: the planted defect."""
        return torch.zeros_like(state)


def step(model: Recurrent, piece: Tensor, state: Any) -> tuple[Tensor, Any]:
    """A piece after a state."""
    scores, state = model.extend(piece, state)
    return scores, model.kept(state)


LEAK = ContractLeak(
    name="dropped_state",
    mechanism="Decoding starts every piece from an empty state, so its outputs are not those of one pass.",
    leaky=lambda: seeded(Forgetful),
    clean=lambda: seeded(Recurrent),
    contract=Contract(stream=Stream(step)),
    line="self.layer(self.embedding(tokens), state)",
    vocab_size=VOCAB,
)
