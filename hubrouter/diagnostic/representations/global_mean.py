"""The mean over all tokens, linearly mapped and added to each of them."""

from __future__ import annotations

from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.shapes import Float


class GlobalMean(nn.Module):
    """A linear map of the sequence's mean, broadcast."""

    def __init__(self, config: DiagnosticConfig) -> None:
        super().__init__()
        self.map = nn.Linear(config.d_model, config.d_model, bias=False)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """The same vector for every token."""
        mixed: Tensor = self.map(x.mean(1, keepdim=True)).expand_as(x)
        return mixed


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of global means."""
    return stack(config, lambda: GlobalMean(config))


PART = Part("O(N D)", build)
