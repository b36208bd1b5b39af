"""Performer (arXiv:2009.14794): linear attention with positive random features of the softmax kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.representations.linear_attention import LinearAttention
from hubrouter.shapes import Float


class Performer(LinearAttention):
    """φ(x) = exp(w·x - |x|²/2) for orthogonal random w, drawn once."""

    directions: Tensor

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__(config)
        width, gen = config.d_model // config.n_heads, torch.Generator().manual_seed(config.seed)
        blocks = [
            torch.linalg.qr(torch.randn(width, width, generator=gen)).Q for _ in range(-(-config.features // width))
        ]
        norms = torch.randn(config.features, width, generator=gen).norm(dim=1, keepdim=True)
        self.register_buffer("directions", torch.cat(blocks)[: config.features] * norms)

    def features(self, x: Float[Tensor, "B H N E"]) -> Float[Tensor, "B H N F"]:
        """Positive random features; no maximum over all tokens is subtracted: it would depend on later ones."""
        x = x * x.shape[-1] ** -0.25
        exponent = x @ self.directions.mT - x.square().sum(-1, keepdim=True) / 2
        return exponent.clamp_max(20.0).exp()


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of Performer attention."""
    return stack(config, lambda: Performer(config))


PART = Part("O(N D F)", build)
