"""Investigator (arXiv:2603.20997): dot products of projected query and positions, averaged over heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class Investigator(Router):
    """s_ij = 1/H Σ_h (W_q^h x_i)·(W_k^h x_j) / √(D/H).

    The mean over heads of products over a head's features is one product over all features, so heads change only the
    scale.
    """

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.d_model, config.d_model, bias=False)
        self.key = nn.Linear(config.d_model, config.d_model, bias=False)
        self.scale = 1 / (config.n_heads * (config.d_model / config.n_heads) ** 0.5)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token."""
        return by_token(torch.einsum("bd,bnd->bn", self.query(at(h, batch.query)), self.key(h)) * self.scale)

    def form(self) -> Float[Tensor, "D D"]:
        """W_qᵀ W_k, the bilinear form that decides (up to its scale)."""
        return self.query.weight.T @ self.key.weight


PART = Part("O(N D) a query", Investigator)
