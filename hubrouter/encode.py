"""Stage 1, encode: the M hub tokens cross-attend to the tokens they may see (paper, abstract: "encode")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hubrouter.config import RouterConfig
from hubrouter.scan import inclusive_scan
from hubrouter.shapes import Bool, Float


class Summary(NamedTuple):
    """An unfinished softmax average over some tokens, one for each chunk, head and hub.

    The average is `weighted / total`; all weights are relative to exp(`peak`), which keeps them finite.
    """

    peak: Float[Tensor, "B G H M"]
    total: Float[Tensor, "B G H M"]
    weighted: Float[Tensor, "B G H M E"]


def combine(earlier: Summary, later: Summary) -> Summary:
    """The summary of both token sets together; associative, so prefixes can be scanned."""
    peak = torch.maximum(earlier.peak, later.peak)
    a, b = (earlier.peak - peak).exp(), (later.peak - peak).exp()
    total = earlier.total * a + later.total * b
    return Summary(peak, total, earlier.weighted * a[..., None] + later.weighted * b[..., None])


class Encode(nn.Module):
    """Hub tokens as queries over keys and values, softmax-normalised over the tokens seen so far.

    Each hub starts from its own embedding, as if it had seen one token with logit 0 and that value (our choice): the
    first chunk then has distinct hub states, and no score ties by construction.
    """

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.hubs = nn.Parameter(torch.randn(config.n_heads, config.n_hubs, config.head_width))

    def start(self, batch: int) -> Summary:
        """The summary before any token: [B, 1, …]."""
        exact = torch.promote_types(self.hubs.dtype, torch.float32)
        hubs = self.hubs.to(exact).expand(batch, 1, -1, -1, -1)
        one = torch.ones(hubs.shape[:-1], dtype=exact, device=hubs.device)
        return Summary(torch.zeros_like(one), one, hubs)

    def summarise(
        self, k: Float[Tensor, "B G H C E"], v: Float[Tensor, "B G H C E"], valid: Bool[Tensor, "B G C"]
    ) -> Summary:
        """One summary for each chunk by itself; accumulated in at least float32. Cost O(N M D)."""
        exact = torch.promote_types(k.dtype, torch.float32)
        logits = (torch.einsum("hme,bghce->bghmc", self.hubs, k) * k.shape[-1] ** -0.5).to(exact)
        seen = valid[:, :, None, None, :]
        logits = logits.masked_fill(~seen, torch.finfo(exact).min)
        peak = logits.detach().amax(-1)
        weight = (logits - peak[..., None]).exp() * seen
        return Summary(peak, weight.sum(-1), weight @ v.to(exact))

    def forward(
        self,
        k: Float[Tensor, "B G H C E"],
        v: Float[Tensor, "B G H C E"],
        valid: Bool[Tensor, "B G C"],
        before: Summary,
    ) -> Summary:
        """Prefixes at the chunk borders: entry g covers `before` and chunks 0..g-1, so it has seen nothing of chunk g.

        Args:
            k: keys of the closed chunks; G may be 0.
            v: values of the closed chunks.
            valid: True where a token is real.
            before: what was seen before the first of these chunks, [B, 1, …].

        Returns:
            G + 1 prefixes; the last is what the chunk after these may see.
        """
        if k.shape[1] == 0:
            return before
        chunks = self.summarise(k, v, valid)
        parts = Summary._make(torch.cat(pair, dim=1) for pair in zip(before, chunks, strict=True))
        return inclusive_scan(combine, parts)
