"""RWKV-style decay (arXiv:2305.13048): weights e^(k_i) that decay by a learned factor per step and channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class Decay(nn.Module):
    """wkv_t = Σ_i<=t e^(-w (t - i) + k_i) v_i / Σ_i<=t e^(-w (t - i) + k_i), gated by sigmoid(r_t).

    The bonus of the current token is left out. Sums are materialised, not scanned: N is small.
    """

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)
        self.rate = nn.Parameter(torch.linspace(-6.0, 0.0, config.d_model))  # log w: half-lives of 1 to 280 tokens

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Mix; a position reads itself and earlier ones."""
        r, k, v = self.project(x).chunk(3, dim=-1)
        position = torch.arange(x.shape[1], device=x.device)
        age = (position[:, None] - position).clamp_min(0)
        decay = torch.exp(-self.rate.exp()[:, None, None] * age).tril()  # [D, N, N]
        weight = k.clamp_max(20.0).exp()
        top = torch.einsum("dts,bsd->btd", decay, weight * v)
        mixed = top / torch.einsum("dts,bsd->btd", decay, weight).clamp_min(1e-9)
        output: Tensor = self.output(r.sigmoid() * mixed)
        return output


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of decay; causal whatever the configuration says."""
    return stack(config, lambda: Decay(config))


PART = Part("O(N D)", build)
