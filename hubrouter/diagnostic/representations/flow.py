"""Flow (arXiv:2603.20997): Mamba layers, in one direction or in both."""

from __future__ import annotations

from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.mixers.mamba import Mamba
from hubrouter.shapes import Float


class BidirectionalMamba(nn.Module):
    """The sum of a forward Mamba layer and a backward one."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.onward, self.back = Mamba(config.model()), Mamba(config.model())

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Both directions."""
        mixed: Tensor = self.onward(x) + self.back(x.flip(1)).flip(1)
        return mixed


def build(config: DiagnosticConfig) -> nn.Module:
    """Mamba layers without MLPs, as in Mamba."""
    return stack(config, lambda: Mamba(config.model()) if config.causal else BidirectionalMamba(config), mlp=False)


PART = Part("O(N D S)", build)
