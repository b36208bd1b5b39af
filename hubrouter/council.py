"""Stage 4, council: attention over the selected tokens only (paper, abstract: "council")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hubrouter.shapes import Bool, Float


class Members(NamedTuple):
    """Keys and gated values of some tokens, and which of them may be read."""

    k: Float[Tensor, "B G H T E"]
    v: Float[Tensor, "B G H T E"]
    valid: Bool[Tensor, "B G T"]


class Council(nn.Module):
    """One softmax over the selected tokens of the chunks before and the tokens of the own chunk up to the query.

    The own chunk is what the frozen selection cannot hold yet; the bidirectional layer passes no own chunk and reads
    the selected tokens alone, as published. Cost O(N (K + C) D).
    """

    def forward(
        self, q: Float[Tensor, "B G H L E"], selected: Members, own: Members | None = None
    ) -> Float[Tensor, "B G H L E"]:
        """Council attention; the queries are the last L tokens of the own chunk."""
        logits = [self._logits(q, selected).masked_fill(~selected.valid[:, :, None, None, :], float("-inf"))]
        values = [selected.v]
        if own is not None:
            mask = self.own_mask(q.shape[3], own)
            logits.append(self._logits(q, own).masked_fill(~mask[:, :, None], float("-inf")))
            values.append(own.v)
        weight = torch.cat(logits, dim=-1)
        nobody = weight.isneginf().all(-1, keepdim=True)
        weight = weight.masked_fill(nobody, 0).softmax(-1).masked_fill(nobody, 0)
        return weight @ torch.cat(values, dim=-2)

    def own_mask(self, queries: int, own: Members) -> Bool[Tensor, "B G L T"]:
        """True where a query may read a token of its own chunk: at its own position or before, and real."""
        size = own.valid.shape[-1]
        position = torch.arange(size, device=own.valid.device)
        causal = position[None, :] <= position[size - queries :, None]
        return causal & own.valid[:, :, None, :]

    @staticmethod
    def _logits(q: Tensor, members: Members) -> Tensor:
        logits: Tensor = q @ members.k.transpose(-1, -2) * q.shape[-1] ** -0.5
        return logits
