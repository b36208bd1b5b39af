"""Keys selected by one score each, ranked over the whole sequence, and only then masked causally."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from audits.leaks._parts import VOCAB, WIDTH, CausalAttention, future, token_model
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass

KEYS = 6


class PrefixSelection(CausalAttention):
    """Causal attention to the KEYS best-scored keys; a query that selects none gets zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.ranker = nn.Linear(WIDTH, 1, bias=False)

    def mask(self, scores: Tensor, x: Tensor) -> Tensor:
        """Hide what is later and what was not selected."""
        later = future(scores.shape[-1], x.device)
        ranks = self.broadcast(self.ranker(x).mT, later)
        best = ranks.topk(min(KEYS, ranks.shape[-1]), dim=-1).indices
        selected = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, value=True)
        return scores.masked_fill(later | ~selected, -math.inf)

    def broadcast(self, key_scores: Tensor, later: Tensor) -> Tensor:
        """Key scores [B, 1, N] for every query, [B, N, N], with the later ones out of the ranking."""
        return key_scores.masked_fill(later, -math.inf)


class GlobalSelection(PrefixSelection):
    """The same with one ranking for all queries."""

    def broadcast(self, key_scores: Tensor, later: Tensor) -> Tensor:
        """Key scores for every query, later ones in the ranking too: the planted defect."""
        return key_scores.expand(-1, later.shape[0], -1)


def leaky() -> nn.Module:
    """The model whose later keys push earlier ones out of the selection."""
    return token_model(GlobalSelection)


def clean() -> nn.Module:
    """The model that ranks the keys a query may attend to."""
    return token_model(PrefixSelection)


LEAK = PlantedLeak(
    name="global_key_selection",
    mechanism="Keys are ranked over the whole sequence before the causal mask, so a later key drops an earlier one.",
    origin="HKUSTDial/flash-sparse-attention#146",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
