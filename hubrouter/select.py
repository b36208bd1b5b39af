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
    """

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.k = config.k
        self.neighbours = config.neighbours

    def kept(self, claim: Float[Tensor, "B K"]) -> Chosen:
        """The tokens selected so far, which are the first K candidates: [B, 1, K]."""
        slots = torch.arange(self.k, device=claim.device)
        return Chosen(claim[:, None], slots.expand(claim.shape[0], 1, -1))

    def claims(
        self, score: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"], recent: Float[Tensor, "B R"]
    ) -> Float[Tensor, "B N"]:
        """Claims of N tokens; `recent` holds the rounded scores of the R = `neighbours` tokens before them."""
        rounded = torch.cat([recent, self.rounded(score, valid)], dim=1)
        claim = rounded.unfold(1, self.neighbours + 1, 1).amax(-1)
        return claim.masked_fill(~valid, NO_CLAIM)

    def rounded(self, score: Float[Tensor, "B N"], valid: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
        """Scores as they are compared; -inf for padding."""
        exact = score.detach().to(torch.promote_types(score.dtype, torch.float32))
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
