"""A prefix language model whose bidirectional block is one token longer than its prefix."""

from __future__ import annotations

import math

from torch import Tensor, nn

from audits.leaks._parts import CausalAttention, Model, future
from audits.leaks.contracts._parts import VOCAB, WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract

PREFIX = 7


class PrefixAttention(CausalAttention):
    """Attention that sees the whole prefix from everywhere, and is causal after it."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - as its parent
        """Scores with later keys behind the prefix at minus infinity."""
        hidden = future(scores.shape[-1], scores.device)
        hidden[:, : self.prefix()] = False
        return scores.masked_fill(hidden, -math.inf)

    def prefix(self) -> int:
        """How many keys every query sees."""
        return PREFIX


class LongerPrefix(PrefixAttention):
    """The same with a longer block."""

    def prefix(self) -> int:
        """One too many: the planted defect."""
        return PREFIX + 1


def model(attention: type[PrefixAttention]) -> nn.Module:
    """A language model of one such layer."""
    return seeded(lambda: Model(nn.Embedding(VOCAB, WIDTH), [attention()], outputs=VOCAB))


LEAK = ContractLeak(
    name="prefix_too_long",
    mechanism="Tokens see the first one after the prefix, because the bidirectional block is counted inclusively.",
    leaky=lambda: model(LongerPrefix),
    clean=lambda: model(PrefixAttention),
    contract=Contract(prefix=PREFIX),
    reads=lambda source, sink: source == PREFIX and sink < PREFIX,
    line="scores.masked_fill(hidden",
    argument="inputs",
    vocab_size=VOCAB,
)
