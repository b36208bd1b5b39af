"""A sliding window, as in Longformer (arXiv:2004.05150): each token reads those at most `window` away.

Computed with a mask, at the cost of full attention; the stated cost is that of the mechanism.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.representations.attention import Attention
from hubrouter.shapes import Bool


def near(length: int, window: int) -> Bool[Tensor, "N N"]:
    """True where two positions are at most `window` apart."""
    position = torch.arange(length)
    return (position[:, None] - position).abs() <= window


def build(config: DiagnosticConfig) -> nn.Module:
    """Windows in both directions, or into the past."""
    both = near(config.length, config.window)
    mask = both.tril() if config.causal else both
    return stack(config, lambda: Attention(config, mask))


PART = Part("O(N W D)", build)
