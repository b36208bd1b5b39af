"""HubRouter layers, strictly causal or bidirectional as published (arXiv:2604.22442)."""

from __future__ import annotations

from torch import nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.router import HubRouter


def build(config: DiagnosticConfig) -> nn.Module:
    """Layers of this project's router."""
    return stack(config, lambda: HubRouter(config.model().router()))


PART = Part("O(N (M + K) D)", build)
