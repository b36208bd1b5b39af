"""Stage 4, council: attention over the selected tokens only (paper, abstract: "council")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.attend import attend
from hubrouter.shapes import Bool, Float, Int


class Members(NamedTuple):
    """Rotated keys and gated values of the tokens of each chunk, and which of them may be read."""

    k: Float[Tensor, "B G H C E"]
    v: Float[Tensor, "B G H C E"]
    valid: Bool[Tensor, "B G C"]


class Tokens(NamedTuple):
    """Rotated keys and gated values as rows; the heads of a token are contiguous, so that one read fetches all."""

    k: Float[Tensor, "B R H E"]
    v: Float[Tensor, "B R H E"]

    def then(self, own: Members) -> Tokens:
        """These tokens, then those of all chunks."""
        new = (part.transpose(2, 3).flatten(1, 2) for part in (own.k, own.v))
        return Tokens(*(torch.cat(pair, dim=1) for pair in zip(self, new, strict=True)))

    def pick(
        self, number: Int[Tensor, "B G T"] | None
    ) -> tuple[Float[Tensor, "B G H T E"], Float[Tensor, "B G H T E"]]:
        """Keys and values of the tokens of these numbers, for each chunk; None is all in order, for one chunk."""
        if number is None:
            return self.k[:, None].transpose(2, 3), self.v[:, None].transpose(2, 3)
        rows, count, heads, width = self.k.shape
        index = number + torch.arange(0, rows * count, count, device=number.device).view(-1, 1, 1)
        k, v = (F.embedding(index, part.view(rows * count, -1)) for part in self)
        shape = (*number.shape, heads, width)
        return k.view(shape).transpose(2, 3), v.view(shape).transpose(2, 3)


class Selected(NamedTuple):
    """The tokens selected for each chunk, by number: the kept ones are counted first, then those of all own chunks.

    `number` is None where there is one chunk and all that is kept is selected for it.
    """

    kept: Tokens
    number: Int[Tensor, "B G K"] | None
    valid: Bool[Tensor, "B G K"]


class Council(nn.Module):
    """One softmax over the selected tokens of the chunks before and the tokens of the own chunk up to the query.

    Tokens of the own chunk cannot have been selected yet; the bidirectional layer passes no own chunk and reads only
    the selected tokens, as published. Cost O(N (K + C) D).
    """

    def forward(
        self, q: Float[Tensor, "B G H L E"], selected: Selected, own: Members | None = None
    ) -> Float[Tensor, "B G H L E"]:
        """Council attention; the queries are the last L tokens of the own chunk. A query without keys gets zeros."""
        tokens, number = selected.kept, selected.number
        mask = selected.valid[:, :, None].expand(-1, -1, q.shape[3], -1)
        if own is not None:
            number = None if number is None else torch.cat([number, _numbers(own, tokens.k.shape[1])], dim=-1)
            tokens = tokens.then(own)
            mask = torch.cat([mask, self.own_mask(q.shape[3], own)], dim=-1)
        parts = (q, *tokens.pick(number), mask[:, :, None])
        rows, keys, values, allowed = (part.flatten(0, 1) for part in parts)
        return attend(rows, keys, values, allowed).view(q.shape)

    def own_mask(self, queries: int, own: Members) -> Bool[Tensor, "B G L T"]:
        """True where a query may read a token of its own chunk: at its own position or before, and real."""
        size = own.valid.shape[-1]
        causal = torch.ones(queries, size, dtype=torch.bool, device=own.valid.device).tril(size - queries)
        return causal & own.valid[:, :, None, :]


def _numbers(own: Members, first: int) -> Int[Tensor, "B G C"]:
    """The numbers of the tokens of the own chunks."""
    shape = own.valid.shape
    return torch.arange(first, first + shape[1:].numel(), device=own.valid.device).view(shape[1:]).expand(shape)
