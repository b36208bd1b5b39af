"""Sizes of the routing diagnostic's models, and how their parts are looked up."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from torch import nn

import hubrouter.diagnostic.representations as representations
import hubrouter.diagnostic.routers as routers
from hubrouter.config import ModelConfig


@dataclass(frozen=True)
class DiagnosticConfig:
    """Sizes; each part uses those that apply (arXiv:2603.20997 prints d = 128 and about 486 K parameters, no more).

    Attributes:
        vocab_size: token values.
        length: tokens N; Linformer's projections and segments depend on it.
        d_model: width D.
        n_heads: heads H.
        layers: layers of the representation.
        causal: for representations that exist in both versions.
        hubs: hub tokens M of Perceiver and HubRouter, global tokens of sparse attention.
        window: tokens on each side that a window reads.
        features: random features of Performer, rank of Linformer.
        positions: whether learned positions are added to the embedding (our choice; the paper does not say). Without
            them a permutation-equivariant representation cannot exceed what content alone tells.
        seed: of random weights that are never trained.
    """

    vocab_size: int
    length: int
    d_model: int = 64
    n_heads: int = 4
    layers: int = 1
    causal: bool = False
    hubs: int = 16
    window: int = 16
    features: int = 32
    positions: bool = True
    seed: int = 0

    def model(self) -> ModelConfig:
        """The configuration of this package's mixers at these sizes."""
        return ModelConfig(
            self.vocab_size,
            d_model=self.d_model,
            n_heads=self.n_heads,
            causal=self.causal,
            n_hubs=min(self.hubs, 64),
            mlp_ratio=2,
        )


@dataclass(frozen=True)
class Part:
    """A representation or a router.

    Attributes:
        cost: how its work grows with the number of tokens N.
        build: makes it for a configuration.
    """

    cost: str
    build: Callable[[DiagnosticConfig], nn.Module]


def representation(name: str) -> Part:
    """The representation in the module of this name."""
    return _part(representations, name)


def router(name: str) -> Part:
    """The router in the module of this name."""
    return _part(routers, name)


def _part(package: ModuleType, name: str) -> Part:
    part = importlib.import_module(f"{package.__name__}.{name}").PART
    assert isinstance(part, Part)
    return part
