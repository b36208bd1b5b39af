"""HubRouter as a router: the scores by which its layer selects, strictly causal or bidirectional.

A token's score is one number, the same for every query (`hubrouter.score`); what the query asks for can enter only
through the hubs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hubrouter.diagnostic.batch import Batch
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.router import Router
from hubrouter.diagnostic.scores import Scores, by_token
from hubrouter.encode import combine
from hubrouter.router import HubRouter
from hubrouter.shapes import Float


class HubScores(Router):
    """Encode, decode and score of one layer; its council is not needed."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.layer = HubRouter(config.model().router())

    def forward(self, h: Float[Tensor, "B N D"], batch: Batch) -> Scores:  # noqa: ARG002
        """One score a token."""
        layer, causal = self.layer, self.layer.config.causal
        size = layer.config.chunk if causal else h.shape[1]
        shape = (len(h), -1, size, 3, layer.config.n_heads, layer.config.head_width)
        q, k, v = layer.project(h).view(shape).permute(3, 0, 1, 4, 2, 5).unbind(0)
        real = torch.ones(len(h), k.shape[1], size, dtype=torch.bool, device=h.device)
        start = layer.encode.start(len(h))
        if causal:
            prefix = layer.encode(k[:, :-1], v[:, :-1], real[:, :-1], start)
        else:
            prefix = combine(start, layer.encode.summarise(k, v, real))
        return by_token(layer.score(layer.decode(q, prefix).fingerprint).flatten(1))


PART = Part("O(1) a query, after O(N M D) once", HubScores)
