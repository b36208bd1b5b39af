"""The diagnostic's model (arXiv:2603.20997): embedding, representation, router, council over what is read, head."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.batch import Batch, Reading
from hubrouter.diagnostic.config import DiagnosticConfig
from hubrouter.diagnostic.router import Router, at
from hubrouter.diagnostic.scores import Scores, read
from hubrouter.shapes import Bool, Float


class RoutedOutput(NamedTuple):
    """The output of a model for a batch."""

    h: Float[Tensor, "B N D"]  # the router's input
    scores: Scores
    logits: Float[Tensor, "B V"]  # of the label


class Council(nn.Module):
    """Multi-head attention of the query to the tokens read, then an MLP."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.query = nn.Linear(config.d_model, config.d_model, bias=False)
        self.pair = nn.Linear(config.d_model, 2 * config.d_model, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)
        self.mlp = nn.Sequential(
            nn.RMSNorm(config.d_model),
            nn.Linear(config.d_model, 2 * config.d_model),
            nn.GELU(),
            nn.Linear(2 * config.d_model, config.d_model),
        )

    def forward(
        self, asking: Float[Tensor, "B D"], h: Float[Tensor, "B N D"], seen: Bool[Tensor, "B N"]
    ) -> Float[Tensor, "B D"]:
        """The query's output from the tokens in `seen`."""
        q = self.query(asking).unflatten(-1, (self.heads, 1, -1))
        k, v = self.pair(h).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None])
        x = asking + self.output(mixed.flatten(1))
        output: Tensor = x + self.mlp(x)
        return output


class RoutedModel(nn.Module):
    """A question's sequence to scores and logits.

    Selection has no derivative and none is estimated: the router learns from `Router.loss` alone, the council and the
    head from the label. Both reach the representation.

    Args:
        config: sizes.
        representation: [B, N, D] to [B, N, D].
        router: scores from it.
        embedding: tokens to [B, N, D]; a learned table where absent. Learned positions are added to either.
    """

    def __init__(
        self,
        config: DiagnosticConfig,
        representation: nn.Module,
        router: Router,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model) if embedding is None else embedding
        self.positions = nn.Parameter(torch.randn(config.length, config.d_model)) if config.positions else None
        self.representation, self.router = representation, router
        self.council = Council(config)
        self.head = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, batch: Batch, asked: Reading) -> RoutedOutput:
        """Route, then predict the label."""
        h = self.represent(batch)
        scores = self.router(h, batch)
        seen = read(scores, batch, self.router.reading(asked))
        output = self.council(at(h, batch.query), h, seen)
        return RoutedOutput(h, scores, self.head(output))

    def represent(self, batch: Batch) -> Float[Tensor, "B N D"]:
        """The router's input."""
        x = self.embedding(batch.tokens)
        h: Tensor = self.representation(x if self.positions is None else x + self.positions[: x.shape[1]])
        return h

    def loss(self, answered: RoutedOutput, batch: Batch, route_weight: float) -> Tensor:
        """Cross-entropy of the label plus the router's loss at its weight, in nats."""
        label_loss = F.cross_entropy(answered.logits, batch.label)
        if route_weight == 0:
            return label_loss
        return label_loss + route_weight * self.router.loss(answered.scores, answered.h, batch)


def parameters_of(model: nn.Module) -> int:
    """The number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def decayed(step: int, steps: int, first: float = 1.0, last: float = 0.1) -> float:
    """The weight of the router's loss, linearly decreasing (arXiv:2603.20997: decayed from 1.0 to 0.1)."""
    return first + (last - first) * step / max(steps - 1, 1)
