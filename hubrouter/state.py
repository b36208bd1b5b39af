"""What a strictly causal layer remembers between two pieces of a sequence, and into which pieces a sequence is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from hubrouter.encode import Summary
from hubrouter.shapes import Bool, Float

STRETCH = 1024  # tokens routed together, in whole chunks; what is in work then mostly fits a processor's cache


@dataclass(frozen=True)
class RouterState:
    """All a strictly causal layer remembers of the tokens before; its size does not grow with their number.

    Attributes:
        position: number of tokens seen.
        summary: the hubs' summary of all closed chunks.
        claim: claims of the selected tokens, largest first; -inf marks an empty slot.
        selected_k: their rotated keys.
        selected_v: their gated values.
        recent: rounded scores of the last `neighbours` tokens before the open chunk.
        open_k: keys of the open chunk's S < C tokens, not rotated.
        open_v: their values, not gated.
        open_score: their scores.
        open_valid: which of them are real.
    """

    position: int
    summary: Summary
    claim: Float[Tensor, "B K"]
    selected_k: Float[Tensor, "B K H E"]
    selected_v: Float[Tensor, "B K H E"]
    recent: Float[Tensor, "B R"]
    open_k: Float[Tensor, "B S H E"]
    open_v: Float[Tensor, "B S H E"]
    open_score: Float[Tensor, "B S"]
    open_valid: Bool[Tensor, "B S"]

    @property
    def opened(self) -> int:
        """The position at which the open chunk starts."""
        return self.position - self.open_k.shape[1]

    def with_open(self, k: Tensor, v: Tensor, score: Tensor, valid: Tensor) -> RouterState:
        """The same with these tokens in the open chunk."""
        position = self.opened + k.shape[1]
        return replace(self, position=position, open_k=k, open_v=v, open_score=score, open_valid=valid)


def stretches(length: int, chunk: int) -> list[int]:
    """Lengths of the stretches in which a whole sequence is routed: whole chunks, but for the last."""
    stretch = _whole_chunks(STRETCH, chunk)
    return [min(stretch, length - start) for start in range(0, length, stretch)]


def pieces(length: int, size: int, chunk: int) -> Iterator[int]:
    """Lengths of the pieces in which the next tokens of a stream are routed, so that a state comes out of each.

    First what completes the open chunk of `size` tokens, then stretches of whole chunks, then what opens a chunk.
    """
    while length:
        rest = min(chunk - size, length)
        piece = rest if size or length < chunk else _whole_chunks(min(STRETCH, length), chunk)
        yield piece
        length, size = length - piece, (size + piece) % chunk


def _whole_chunks(length: int, chunk: int) -> int:
    return max(length // chunk, 1) * chunk
