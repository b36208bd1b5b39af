"""A padding mask under a name of its own that replaces the causal mask in place of joining it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import CausalAttention, future
from audits.leaks.contracts._parts import VOCAB, WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract


class PaddedModel(nn.Module):
    """Tokens [B, N], and where they are real, to scores [B, N, V]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention = nn.Embedding(VOCAB, WIDTH), CausalAttention()
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor, is_real: Tensor | None = None) -> Tensor:
        """Attend to real keys."""
        x, attention = self.embedding(tokens), self.attention
        scores = attention.score(attention.query(x), attention.key(x))
        hidden = self.hidden(future(tokens.shape[1], tokens.device), is_real)
        weights = attention.weights(scores.masked_fill(hidden, -math.inf))
        outputs: Tensor = self.head(x + attention.out(weights @ attention.value(x)))
        return outputs

    def hidden(self, later: Tensor, is_real: Tensor | None) -> Tensor:
        """Which keys a query does not see."""
        return later if is_real is None else later | (is_real == 0)[:, None]


class PaddingForMask(PaddedModel):
    """The same with one mask or the other."""

    def hidden(self, later: Tensor, is_real: Tensor | None) -> Tensor:
        """The padding alone, where it is given: the planted defect."""
        return later if is_real is None else torch.zeros_like(later) | (is_real == 0)[:, None]


LEAK = ContractLeak(
    name="padding_for_mask",
    mechanism="Given a padding mask, tokens depend on later ones, because it is taken in place of the causal mask.",
    leaky=lambda: seeded(PaddingForMask),
    clean=lambda: seeded(PaddedModel),
    contract=Contract(inputs={"tokens": "past:tokens", "is_real": "padding"}),
    reads=lambda source, sink: source > sink,
    line="queries @ keys.mT",
    argument="tokens",
    vocab_size=VOCAB,
)
