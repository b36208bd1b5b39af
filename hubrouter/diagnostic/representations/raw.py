"""Raw embeddings."""

from __future__ import annotations

from torch import nn

from hubrouter.diagnostic.config import DiagnosticConfig, Part


def build(config: DiagnosticConfig) -> nn.Module:  # noqa: ARG001
    """The identity."""
    return nn.Identity()


PART = Part("O(N)", build)
