"""Stage 2, decode: each token is projected against the hub summaries (paper, abstract: "decode")."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hubrouter.encode import Summary
from hubrouter.shapes import Bool, Float

EPS = 1e-4  # the least spread of summaries that is scaled up to 1 (our choice)


class Decoded(NamedTuple):
    """The routing fingerprint (a distribution over hubs, one a head), and the normalised hubs that it is of."""

    fingerprint: Float[Tensor, "B G H L M"]
    hubs: Float[Tensor, "B G H M E"]

    def readout(self) -> Float[Tensor, "B G H L E"]:
        """What each token reads out of the hubs."""
        return self.fingerprint @ self.hubs


class Decode(nn.Module):
    """Softmax of query against *normalised* hub summaries; their average by it is each token's dense context. O(N M D).

    An average over more tokens is smaller, and the empty prefix is the hubs' own embeddings. Were tokens projected
    against the averages themselves, scores would vary most in the first chunk and ever less after it, and nearly all
    selected tokens would be the first ones. So the summaries of a head are centred over its hubs and divided by their
    spread: what counts is how the hubs differ, at any length (our choice).
    """

    def forward(
        self, q: Float[Tensor, "B G H L E"], prefix: Summary, log_gate: Float[Tensor, " M"] | None = None
    ) -> Decoded:
        """Fingerprints of the L queries of each chunk against the hub prefix that chunk may see.

        Args:
            q: queries.
            prefix: the hubs' summaries.
            log_gate: added to the logits of each hub: -inf closes it (`hubrouter.adaptive`).
        """
        open_hubs = None if log_gate is None else log_gate > float("-inf")
        hubs = normalised(prefix.weighted / prefix.total[..., None], open_hubs).to(q.dtype)
        # Hubs before tokens: M is small, and what runs along C tokens is several times faster than what runs along M.
        logits = hubs * q.shape[-1] ** -0.5 @ q.contiguous().mT
        if log_gate is not None:
            logits = logits + log_gate.to(q.dtype)[:, None]
        fingerprint = logits.softmax(-2).mT
        return Decoded(fingerprint, hubs)


def normalised(
    hubs: Float[Tensor, "B G H M E"], open_hubs: Bool[Tensor, " M"] | None = None
) -> Float[Tensor, "B G H M E"]:
    """Summaries centred over the open hubs of each head, and scaled to mean square 1; closed ones are meaningless.

    A single open hub is not centred, since nothing of it would be left. sqrt(mean square + EPS^2) is what they are
    divided by, so hubs that are all equal give zeros.
    """
    if open_hubs is None:
        centred = hubs - hubs.mean(-2, keepdim=True) if hubs.shape[-2] > 1 else hubs
        return centred * (centred.square().mean((-2, -1), keepdim=True) + EPS**2).rsqrt()
    count = open_hubs.sum()
    share = open_hubs.to(hubs.dtype)[:, None] / count
    centred = hubs - (hubs * share).sum(-2, keepdim=True) * (count > 1)
    spread = (centred.square() * share).sum(-2, keepdim=True).mean(-1, keepdim=True)
    return centred * (spread + EPS**2).rsqrt()
