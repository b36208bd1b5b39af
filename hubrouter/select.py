"""Stage 3, continued: the running top-k of the scores, at the borders of chunks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.config import RouterConfig
from hubrouter.scan import inclusive_scan
from hubrouter.shapes import Bool, Float, Int

NO_CLAIM = float("-inf")  # the claim of an empty slot or a padding token
GRID = 1024  # scores are compared on a grid of 1/1024 (our choice)


class Chosen(NamedTuple):
    """The K tokens with the largest claims, largest first, the lower position first among equals.

    `token` is an index into the candidates; an empty slot has claim -inf, and its token is meaningless.
    """

    claim: Float[Tensor, "B G K"]
    token: Int[Tensor, "B G K"]


class Select(nn.Module):
    """Keeps the K strongest claims among all tokens of earlier chunks: one merge per chunk, no mask over prefixes.

    A token's claim is the largest score among itself and its `neighbours` predecessors, so the successors of a selected
    token are selected with it ("top-k and their neighbours"). Claims are compared on a grid of 1/1024: equal tokens get
    scores that differ by rounding alone, and the order of equals must not depend on how a matrix product was tiled.

    The ablations rank tokens by their position alone: by a fixed random number, whose K largest among any prefix are a
    uniform sample of it, or by the position itself.
    """

    seed: Int[Tensor, ""]

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.k = config.slots
        self.neighbours = config.neighbours
        self.kind = config.selection
        if self.kind == "random":
            self.register_buffer("seed", torch.randint(1 << 31, ()))

    def ranked_by_position(self, first: int, length: int, device: torch.device) -> Float[Tensor, " N"] | None:
        """What ranks the tokens from position `first` on, in units of the grid; None where scores do.

        Positions up to 2^24 are exact in float32.
        """
        if self.kind == "learned":
            return None
        position = torch.arange(first, first + length, device=device)
        return (position if self.kind == "recent" else _hashed(position, self.seed)).float() / GRID

    def ranking(self, score: Float[Tensor, "B N"], first: int) -> Float[Tensor, "B N"]:
        """By what these tokens are ranked, of which the first is at position `first`."""
        by_position = self.ranked_by_position(first, score.shape[1], score.device)
        return score if by_position is None else by_position.expand_as(score)

    def kept(self, claim: Float[Tensor, "B K"]) -> Chosen:
        """The tokens selected so far, which are the first K candidates: [B, 1, K]."""
        slots = torch.arange(self.k, device=claim.device)
        return Chosen(claim[:, None], slots.expand(claim.shape[0], 1, -1))

    def claims(
        self, ranking: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"], recent: Float[Tensor, "B R"]
    ) -> Float[Tensor, "B N"]:
        """Claims of N tokens by their ranking; `recent` is that of the R = `neighbours` tokens before, rounded."""
        rounded = torch.cat([recent, self.rounded(ranking, valid)], dim=1)
        claim = rounded.unfold(1, self.neighbours + 1, 1).amax(-1)
        return claim.masked_fill(~valid, NO_CLAIM)

    def rounded(self, ranking: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Scores, or what replaces them, as they are compared; -inf for padding."""
        exact = ranking.detach().to(torch.promote_types(ranking.dtype, torch.float32))
        return ((exact * GRID).round() / GRID).masked_fill(~valid, NO_CLAIM)

    def forward(self, claim: Float[Tensor, "B G C"], before: Chosen, first: int) -> Chosen:
        """Top-k prefixes at the chunk borders: entry g chooses among `before` and chunks 0..g-1, none of chunk g.

        Args:
            claim: claims of the tokens of the G closed chunks; G may be 0.
            before: what was chosen earlier, [B, 1, K].
            first: the index that the first token of the first chunk has.

        Returns:
            G + 1 prefixes. Cost O(N K / C) comparisons times a logarithm.
        """
        if claim.shape[1] == 0:
            return before
        if self.k == 0:
            return Chosen._make(part.expand(-1, claim.shape[1] + 1, -1) for part in before)
        index = torch.arange(first, first + claim[0].numel(), device=claim.device).view(1, *claim.shape[1:])
        chunks = self._best(Chosen(claim, index.expand_as(claim)))
        parts = Chosen._make(torch.cat(pair, dim=1) for pair in zip(before, chunks, strict=True))
        return inclusive_scan(self._merge, parts)

    def _merge(self, earlier: Chosen, later: Chosen) -> Chosen:
        return self._best(Chosen._make(torch.cat(pair, dim=-1) for pair in zip(earlier, later, strict=True)))

    def _best(self, candidates: Chosen) -> Chosen:
        """The K best of candidates given in order of position; a stable sort keeps the lower position first."""
        claim, order = candidates.claim.sort(dim=-1, descending=True, stable=True)
        claim, index = claim[..., : self.k], candidates.token.gather(-1, order[..., : self.k])
        missing = self.k - claim.shape[-1]
        if missing:
            claim, index = F.pad(claim, (0, missing), value=NO_CLAIM), F.pad(index, (0, missing))
        return Chosen(claim, index)


def _hashed(position: Int[Tensor, " N"], seed: Int[Tensor, ""]) -> Int[Tensor, " N"]:
    """A random number below 2^24 for each position; multipliers below 2^31 keep 64-bit products exact."""
    mixed = (position + seed) & 0xFFFFFFFF
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x446CA68B), (16, 0x5BD1E995)):
        mixed = ((mixed ^ (mixed >> shift)) * multiplier) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 15)) & 0xFFFFFF
