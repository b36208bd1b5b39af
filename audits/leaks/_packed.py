"""Models that take several documents packed in one row, for the planted leaks that cross from one to the next.

However a model is called, its mixers get the number of the document at every position, int64 [B, N].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, Block, CausalAttention, Model, future, seeded

KERNEL = 4


class PackedModel(Model):
    """A language model whose mixers are called with the documents."""

    def __init__(self, mixers: Iterable[nn.Module]) -> None:
        super().__init__(nn.Embedding(VOCAB, WIDTH), mixers, outputs=VOCAB)

    def along(self, inputs: Tensor, documents: Tensor | None) -> Tensor:
        """Outputs [B, N, V]; without documents a row is one."""
        return self.through(self.embed(inputs), torch.zeros_like(inputs) if documents is None else documents)

    def through(self, x: Tensor, documents: Tensor) -> Tensor:
        """The blocks and the head, for the residual stream [B, N, D]."""
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x = block.finish(x + block.mixer(block.mixer_norm(x), self.documents_of(layer, documents)))
        return self.read(x)

    def documents_of(self, layer: int, documents: Tensor) -> Tensor:  # noqa: ARG002 - leaks forget a layer
        """The documents that one layer distinguishes, int64 [B, N]."""
        return documents


class ByIndex(PackedModel):
    """Documents are given by their number at every position."""

    def forward(self, inputs: Tensor, seq_idx: Tensor | None = None) -> Tensor:
        """Outputs for inputs [B, N] and seq_idx int32 [B, N]."""
        return self.along(inputs, seq_idx)


class BySegments(PackedModel):
    """The same under another name."""

    def forward(self, inputs: Tensor, segment_ids: Tensor | None = None) -> Tensor:
        """Outputs for inputs [B, N] and segment_ids int64 [B, N]."""
        return self.along(inputs, segment_ids)


class ByBorders(PackedModel):
    """Documents are given by where they begin and end."""

    def forward(self, inputs: Tensor, cu_seqlens: Tensor | None = None) -> Tensor:
        """Outputs for inputs [1, N] and cu_seqlens int32 [D + 1]."""
        return self.along(inputs, None if cu_seqlens is None else numbered(cu_seqlens, inputs))


class ByPositions(PackedModel):
    """Documents are given by positions that begin again."""

    def forward(self, inputs: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Outputs for inputs [B, N] and position_ids int64 [B, N]."""
        return self.along(inputs, None if position_ids is None else (position_ids == 0).cumsum(1))


def numbered(borders: Tensor, inputs: Tensor) -> Tensor:
    """The number of the document at every position of inputs [1, N], from borders [D + 1]."""
    position = torch.arange(inputs.shape[1], device=inputs.device)
    return torch.bucketize(position, borders[1:].long(), right=True)[None]


def starts(documents: Tensor) -> Tensor:
    """Whether a document begins at a position: bool [B, N]."""
    return F.pad(documents[:, 1:] != documents[:, :-1], (1, 0), value=True)


class PackedAttention(CausalAttention):
    """Causal attention within documents."""

    def forward(self, x: Tensor, documents: Tensor) -> Tensor:  # type: ignore[override] # called by PackedModel alone
        """Attend in x [B, N, D]."""
        scores = self.score(self.query(x), self.key(x)).masked_fill(self.hidden(documents), -math.inf)
        y: Tensor = self.out(self.weights(scores) @ self.value(x))
        return y

    def hidden(self, documents: Tensor) -> Tensor:
        """Which keys are later or in another document: bool [B, N, N]."""
        apart = documents[:, :, None] != documents[:, None, :]
        return apart | future(documents.shape[1], documents.device)


class PackedConvolution(nn.Module):
    """A causal convolution along each document, [B, N, D] -> [B, N, D]."""

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.randn(KERNEL, WIDTH) / KERNEL)

    def forward(self, x: Tensor, documents: Tensor) -> Tensor:
        """The sum of the taps, each on x shifted by its number."""
        total = torch.zeros_like(x)
        for back, tap in enumerate(self.taps):
            shifted = F.pad(x, (0, 0, back, 0))[:, : x.shape[1]]
            total = total + tap * shifted * self.seen(documents, back)[..., None]
        return total

    def seen(self, documents: Tensor, back: int) -> Tensor:
        """Whether the token `back` positions earlier is in the same document: bool [B, N]."""
        earlier = F.pad(documents, (back, 0), value=-1)[:, : documents.shape[1]]
        return earlier == documents


def packed_model(kind: Callable[[Iterable[nn.Module]], PackedModel], *mixers: Callable[[], nn.Module]) -> nn.Module:
    """A seeded language model with one block for each mixer."""
    return seeded(lambda: kind([mixer() for mixer in mixers]))
