"""Linear attention (arXiv:2006.16236): positive features φ(x) = elu(x) + 1 and running sums."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class LinearAttention(nn.Module):
    """Weights φ(q)·φ(k) / Σ φ(q)·φ(k), over all tokens, or over those up to the query's."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.heads, self.causal = config.n_heads, config.causal
        self.project = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.output = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Attend; sequences are short, so all weights are materialised."""
        q, k, v = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weight = self.features(q) @ self.features(k).mT
        weight = weight.tril() if self.causal else weight
        mixed = (weight @ v) / weight.sum(-1, keepdim=True).clamp_min(1e-6)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output

    def features(self, x: Float[Tensor, "B H N E"]) -> Float[Tensor, "B H N F"]:
        """φ(x)."""
        return F.elu(x) + 1


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of linear attention."""
    return stack(config, lambda: LinearAttention(config))


PART = Part("O(N D E)", build)
