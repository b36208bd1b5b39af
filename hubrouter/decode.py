"""Stage 2, decode: each token is projected against the hub summaries (paper, abstract: "decode")."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from hubrouter.encode import Summary
from hubrouter.shapes import Float


class Decoded(NamedTuple):
    """The routing fingerprint (a distribution over hubs, one a head) and what it reads out of the hubs."""

    fingerprint: Float[Tensor, "B G H L M"]
    readout: Float[Tensor, "B G H L E"]


class Decode(nn.Module):
    """Softmax of query against hub summaries; the read-out is every token's dense context (our choice). O(N M D)."""

    def forward(self, q: Float[Tensor, "B G H L E"], prefix: Summary) -> Decoded:
        """Fingerprints of the L queries of each chunk against the hub prefix that chunk may see."""
        hubs = (prefix.weighted / prefix.total[..., None]).to(q.dtype)
        # Hubs before tokens: M is small, and what runs along C tokens is several times faster than what runs along M.
        logits = hubs * q.shape[-1] ** -0.5 @ q.contiguous().mT
        fingerprint = logits.softmax(-2).mT
        return Decoded(fingerprint, fingerprint @ hubs)
