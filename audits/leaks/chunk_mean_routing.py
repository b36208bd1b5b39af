"""Routing by the mean of the current chunk, and a chunk mask that admits the current chunk as a candidate."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

CHUNK = 6


class PastChunkRouting(CausalAttention):
    """Attention to the tokens of one earlier chunk, chosen by top-1 with the mean of the chunk before as the query.

    Selected tokens still pass the causal mask, and a token always attends to itself: only the choice can leak.
    """

    newest = -1  # a chunk may choose up to this many chunks after itself

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, WIDTH, bias=False)

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Hide what is later, and what is neither in the chosen chunk nor the query itself."""
        n = scores.shape[-1]
        chunk = torch.arange(n, device=x.device) // CHUNK
        chosen = self.choose(x, F.one_hot(chunk).to(x.dtype))[:, chunk][:, :, chunk]
        own = torch.eye(n, dtype=torch.bool, device=x.device)
        return scores.masked_fill(future(n, x.device) | ~(chosen | own), -math.inf)

    def choose(self, x: Tensor, membership: Tensor) -> Tensor:
        """The chunk each chunk chooses: bool [B, G, G] for G chunks, from a membership [N, G] of 0 and 1."""
        means = membership.mT / membership.sum(0)[:, None] @ x
        affinity = self.routing_query(means) @ self.router(means).mT
        candidates = torch.ones_like(affinity, dtype=torch.bool).tril(self.newest)
        best = affinity.masked_fill(~candidates, -math.inf).argmax(-1)
        return F.one_hot(best, means.shape[1]).bool() & candidates

    def routing_query(self, means: Tensor) -> Tensor:
        """The mean of the chunk before, [B, G, D]; zeros for the first."""
        return F.pad(means, (0, 0, 1, -1))


class OwnChunkRouting(PastChunkRouting):
    """The same with the current chunk as query and as candidate."""

    newest = 0  # half of the planted defect

    def routing_query(self, means: Tensor) -> Tensor:
        """The mean of the chunk itself, later tokens included: the other half."""
        return means


def leaky() -> nn.Module:
    """The model that chooses by its current chunk."""
    return token_model(OwnChunkRouting)


def clean() -> nn.Module:
    """The model that chooses by finished chunks."""
    return token_model(PastChunkRouting)


LEAK = PlantedLeak(
    name="chunk_mean_routing",
    mechanism="The chunk a token attends to is chosen by the mean of its own chunk, later tokens included.",
    origin="DSC-370M model card, v1 to v3",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
