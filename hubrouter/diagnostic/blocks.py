"""What representations are built from: residual layers around a mixer [B, N, D] -> [B, N, D]."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from hubrouter.diagnostic.config import DiagnosticConfig
from hubrouter.shapes import Float


class Layer(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)) where there is one."""

    def __init__(self, config: DiagnosticConfig, mixer: nn.Module, *, mlp: bool = True) -> None:
        super().__init__()
        width = 2 * config.d_model
        self.norm, self.mixer = nn.RMSNorm(config.d_model), mixer
        self.mlp = (
            nn.Sequential(
                nn.RMSNorm(config.d_model),
                nn.Linear(config.d_model, width, bias=False),
                nn.GELU(),
                nn.Linear(width, config.d_model, bias=False),
            )
            if mlp
            else None
        )

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """One layer."""
        x = x + self.mixer(self.norm(x))
        return x if self.mlp is None else x + self.mlp(x)


def stack(config: DiagnosticConfig, mixer: Callable[[], nn.Module], *, mlp: bool = True) -> nn.Sequential:
    """The configured number of layers."""
    return nn.Sequential(*(Layer(config, mixer(), mlp=mlp) for _ in range(config.layers)))
