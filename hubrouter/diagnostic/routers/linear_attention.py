"""Linear-attention scoring: positive features of query and positions, φ(x) = elu(x) + 1 (arXiv:2006.16236)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.shapes import Float


class LinearAttentionScores(Router):
    """The logarithm of φ(W_q x_i)·φ(W_k x_j): its softmax over positions is linear attention's weight."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.d_model, config.d_model, bias=False)
        self.key = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:
        """One score a token."""
        q, k = F.elu(self.query(at(h, batch.query))) + 1, F.elu(self.key(h)) + 1
        return by_token(torch.einsum("bd,bnd->bn", q, k).clamp_min(torch.finfo(q.dtype).tiny).log())


PART = Part("O(N D) a query", LinearAttentionScores)
