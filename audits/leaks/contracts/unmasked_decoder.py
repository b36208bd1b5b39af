"""An encoder-decoder whose decoder attends to its own later tokens; its encoder may see everything."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import CausalAttention
from audits.leaks.contracts._parts import VOCAB, WIDTH, seeded
from audits.leaks.contracts._planted import ContractLeak
from audits.subject.contract import Contract


class Bidirectional(CausalAttention):
    """Attention to all tokens."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - as its parent
        """Nothing hidden."""
        return scores


class EncoderDecoder(nn.Module):
    """Source and target tokens [B, M] and [B, N] to scores [B, N, V] of the next target token."""

    attention: type[CausalAttention] = CausalAttention

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.encoder, self.decoder = Bidirectional(), self.attention()
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Encode, decode, attend from the decoder to the encoder."""
        memory = self.encoder(self.embedding(source))
        x = self.decoder(self.embedding(target))
        crossed = torch.softmax(x @ memory.mT / math.sqrt(WIDTH), -1) @ memory
        scores: Tensor = self.head(x + crossed)
        return scores


class UnmaskedAttention(CausalAttention):
    """A decoder's attention without its mask."""

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002 - as its parent
        """Nothing hidden: the planted defect."""
        return scores * 1.0


class UnmaskedDecoder(EncoderDecoder):
    """The same without the decoder's mask."""

    attention = UnmaskedAttention


LEAK = ContractLeak(
    name="unmasked_decoder",
    mechanism="Target tokens depend on later ones, because the decoder attends as the encoder rightly does.",
    leaky=lambda: seeded(UnmaskedDecoder),
    clean=lambda: seeded(EncoderDecoder),
    contract=Contract(inputs={"source": "free:tokens", "target": "past:tokens"}),
    reads=lambda source, sink: source > sink,
    line="queries @ keys.mT",
    argument="target",
    vocab_size=VOCAB,
)
