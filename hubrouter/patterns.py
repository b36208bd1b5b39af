"""The systems of the paper as layer patterns, one letter a layer: `A` attention, `H` HubRouter, `M` Mamba."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hubrouter.config import ConfigError


def transformer(layers: int) -> str:
    """Attention in every layer; the paper's baseline has 12."""
    return "A" * _checked(layers)


def hub_gpt(layers: int) -> str:
    """HubRouter in every layer; strictly causal with `ModelConfig(causal=True)`."""
    return "H" * _checked(layers)


def jamba(layers: int, period: int = 8, offset: int = 4) -> str:
    """Mamba, with attention where `layer % period == offset`.

    Layers are counted from 0, and the defaults are Jamba's: Hugging Face's `attn_layer_period` and `attn_layer_offset`.

    Raises:
        ConfigError: the offset is not in the period, or no layer would be attention.
    """
    if not 0 <= offset < period:
        raise ConfigError(f"offset={offset} must be at least 0 and below period={period}")
    if offset >= _checked(layers):
        raise ConfigError(f"offset={offset} is beyond the last of {layers} layers: no layer would be attention")
    return "".join("A" if layer % period == offset else "M" for layer in range(layers))


def hub_jamba(layers: int, period: int = 8, offset: int = 4) -> str:
    """`jamba` with HubRouter in place of attention."""
    return jamba(layers, period, offset).replace("A", "H")


def graduated(layers: int, share: float) -> str:
    """A Transformer with this share of its attention layers replaced by HubRouter.

    The paper does not say which layers it replaced. Ours are spread evenly and end with the last layer: with a quarter
    of 12 layers these are, counted from 0, layers 3, 7 and 11; with half of them every second, from layer 1 on.

    Args:
        layers: how many layers.
        share: from 0 to 1, for instance 0.25.

    Raises:
        ConfigError: the share is not between 0 and 1, or does not make a whole number of layers.
    """
    _checked(layers)
    if not 0 <= share <= 1:
        raise ConfigError(f"share={share} must be from 0 to 1")
    exact = Fraction(share).limit_denominator(1000) * layers  # 0.1 is no binary fraction
    if exact.denominator != 1:
        raise ConfigError(f"share={share} of {layers} layers is {float(exact):g}: choose one that makes whole layers")
    replaced = int(exact)
    # Layer by layer the count of replaced layers follows its share, rounded down.
    done = [layer * replaced // layers for layer in range(layers + 1)]
    return "".join("H" if after > before else "A" for before, after in pairwise(done))


def _checked(layers: int) -> int:
    if layers < 1:
        raise ConfigError(f"layers must be at least 1, not {layers}")
    return layers
