"""The state of a strictly causal layer between two pieces of a sequence, and into which pieces a sequence is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from hubrouter.encode import Summary
from hubrouter.shapes import Bool, Float

BLOCK = 1024  # tokens routed together, in whole chunks; intermediate tensors then mostly fit a processor's cache


@dataclass(frozen=True)
class RouterState:
    """All that a strictly causal layer keeps of the tokens before; its size does not grow with their number.

    Attributes:
        position: number of tokens seen.
        summary: the hubs' summary of all closed chunks.
        claim: claims of the selected tokens, largest first; -inf marks an empty slot.
        selected_k: their rotated keys.
        selected_v: their gated values.
        recent: rounded ranking of the last `neighbours` tokens before the open chunk.
        open_k: keys of the open chunk's S < C tokens, not rotated.
        open_v: their values, not gated.
        open_score: their scores.
        open_valid: which of them are not padding.
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


def block_lengths(length: int, chunk: int) -> list[int]:
    """Lengths of the blocks in which a whole sequence is routed: whole chunks, except for the last."""
    block = _whole_chunks(BLOCK, chunk)
    return [min(block, length - start) for start in range(0, length, block)]


def piece_lengths(length: int, size: int, chunk: int) -> Iterator[int]:
    """Lengths of the pieces in which the next tokens of a stream are routed, so that each ends in a valid state.

    First what completes the open chunk of `size` tokens, then blocks of whole chunks, then what opens a chunk.
    """
    while length:
        rest = min(chunk - size, length)
        piece = rest if size or length < chunk else _whole_chunks(min(BLOCK, length), chunk)
        yield piece
        length, size = length - piece, (size + piece) % chunk


def _whole_chunks(length: int, chunk: int) -> int:
    return max(length // chunk, 1) * chunk
