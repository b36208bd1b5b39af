"""Stage 1, encode: the M hub tokens cross-attend to the tokens they may see (paper, abstract: "encode")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hubrouter.config import RouterConfig
from hubrouter.shapes import Bool, Float


class Summary(NamedTuple):
    """An unfinished softmax average over some tokens, one for each chunk, head and hub.

    The average is `weighted / total`; all weights are relative to exp(`peak`), which keeps them finite.
    """

    peak: Float[Tensor, "B G H M"]
    total: Float[Tensor, "B G H M"]
    weighted: Float[Tensor, "B G H M E"]


def combine(earlier: Summary, later: Summary) -> Summary:
    """The summary of both token sets together; associative."""
    peak = torch.maximum(earlier.peak, later.peak)
    a, b = (earlier.peak - peak).exp(), (later.peak - peak).exp()
    total = torch.addcmul(earlier.total * a, later.total, b)
    weighted = torch.addcmul(earlier.weighted * a[..., None], later.weighted, b[..., None])
    return Summary(peak, total, weighted)


def prefixes(before: Summary, chunks: Summary) -> Summary:
    """Entry g is the summary of `before` [B, 1, ...] and chunks 0..g-1: `combine` from left to right.

    All weights can be computed first, since a prefix has the largest peak so far; two operations per chunk are left.
    Those that make up entry g depend on g alone, so a longer sequence cannot change the rounding of an earlier prefix.
    """
    peak = torch.cat([before.peak, chunks.peak], dim=1).cummax(dim=1).values
    kept, added = (peak[:, :-1] - peak[:, 1:]).exp(), (chunks.peak - peak[:, 1:]).exp()
    total = _linear_recurrence(before.total, kept, chunks.total * added)
    weighted = _linear_recurrence(before.weighted, kept[..., None], chunks.weighted * added[..., None])
    return Summary(peak, total, weighted)


def _linear_recurrence(first: Tensor, kept: Tensor, added: Tensor) -> Tensor:
    """y_0 = first, y_g = kept_g y_(g-1) + added_g along axis 1."""
    sums = [first[:, 0]]
    for keep, add in zip(kept.unbind(1), added.unbind(1), strict=True):
        sums.append(torch.addcmul(add, keep, sums[-1]))
    return torch.stack(sums, dim=1)


class Encode(nn.Module):
    """Hub tokens as queries over keys and values, softmax-normalised over the tokens seen so far.

    Each hub starts from its own embedding, as if it had read one token with logit 0 and that value (our choice): the
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
        """One summary for each chunk separately; accumulated in at least float32. Cost O(N M D)."""
        exact = torch.promote_types(k.dtype, torch.float32)
        logits = (self.hubs * k.shape[-1] ** -0.5 @ k.contiguous().mT).to(exact)
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
        """Prefixes at the chunk borders: entry g covers `before` and chunks 0..g-1, so nothing of chunk g.

        Args:
            k: keys of the closed chunks; G may be 0.
            v: values of the closed chunks.
            valid: True where a token is real.
            before: the summary of everything before the first of these chunks, [B, 1, …].

        Returns:
            G + 1 prefixes; the last is what the chunk after these may see.
        """
        if k.shape[1] == 0:
            return before
        return prefixes(before, self.summarise(k, v, valid))
