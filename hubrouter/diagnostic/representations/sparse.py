"""A window and random global tokens, as in BigBird (arXiv:2007.14062) and in arXiv:2603.20997 (window 32, 16 globals).

Global tokens attend to all tokens and all tokens attend to them; their positions are drawn once. Computed with a mask.
"""

from __future__ import annotations

import torch
from torch import nn

from hubrouter.diagnostic.blocks import stack
from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.representations.attention import Attention
from hubrouter.diagnostic.representations.sliding_window import near


def build(config: DiagnosticConfig) -> nn.Module:
    """Bidirectional; one mask for all layers.

    Raises:
        ValueError: the configuration is causal, or has more global tokens than tokens.
    """
    if config.causal or config.hubs > config.length:
        raise ValueError("sparse attention is bidirectional and needs at most as many globals (hubs) as tokens")
    order = torch.randperm(config.length, generator=torch.Generator().manual_seed(config.seed))
    is_global = torch.zeros(config.length, dtype=torch.bool)
    is_global[order[: config.hubs]] = True
    mask = near(config.length, config.window) | is_global[:, None] | is_global
    return stack(config, lambda: Attention(config, mask))


PART = Part("O(N (W + G) D)", build)
