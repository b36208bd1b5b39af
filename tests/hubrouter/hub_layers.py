"""Small HubRouter layers and inputs that the tests of the layer share."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from hubrouter import HubRouter, RouterConfig


@dataclass(frozen=True)
class Size:
    """Sizes of one layer and its input."""

    length: int
    chunk: int = 4
    k: int = 3
    n_hubs: int = 3
    n_heads: int = 2
    neighbours: int = 1
    d_model: int = 8
    batch: int = 2
    causal: bool = True
    council: str = "selected+chunk"
    selection: str = "learned"
    readout: bool = True
    adaptive_hubs: bool = False

    @property
    def silent(self) -> int:
        """Tokens at the beginning that read nothing, so that their outputs are zero."""
        return self.chunk if self.causal and self.council == "selected" and not self.readout else 0


# Lengths that are no multiple of the chunk, below it, and 1; one hub; more slots than tokens; up to two neighbours.
RAGGED = [
    Size(1),
    Size(3),
    Size(4),
    Size(5),
    Size(13),
    Size(16),
    Size(13, neighbours=0),
    Size(13, neighbours=2),
    Size(11, chunk=3, neighbours=2, k=2),
    Size(9, chunk=1),
    Size(9, chunk=1, neighbours=2, k=1),
    Size(7, chunk=64),
    Size(13, n_hubs=1),
    Size(13, k=64),
    Size(13, k=1),
    Size(14, n_heads=1, chunk=5),
    Size(12, n_heads=4),
    Size(21, chunk=2, k=5, n_hubs=5),
]

# Everything that can be switched off: one thing at a time, then together.
ORDINARY = Size(14, chunk=3, k=4, neighbours=2, n_hubs=4)
ABLATIONS = [
    *(replace(ORDINARY, council=council) for council in ("selected", "chunk")),
    *(replace(ORDINARY, selection=selection) for selection in ("random", "recent")),
    replace(ORDINARY, readout=False),
    replace(ORDINARY, adaptive_hubs=True),
    replace(ORDINARY, council="selected", selection="random", readout=False),
    replace(ORDINARY, council="selected", length=3),  # the first chunk reads nothing in the council
    replace(ORDINARY, council="chunk", readout=False, adaptive_hubs=True),
    replace(ORDINARY, council="selected", selection="recent", adaptive_hubs=True, causal=False),
    replace(ORDINARY, selection="random", readout=False, causal=False),
]


def build(size: Size, dtype: torch.dtype = torch.float64) -> HubRouter:
    """The layer of this size; its weights depend on the size alone."""
    known = {field.name for field in fields(RouterConfig)}
    config = RouterConfig(**{name: value for name, value in vars(size).items() if name in known})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = HubRouter(config)
    # Weights of order one: routing then prefers some hubs and tokens over others.
    with torch.no_grad():
        layer.project.weight.mul_(2)
        layer.score.head.weight.mul_(4)
        if layer.gates is not None:  # a closed hub, a wide open one, and all between
            layer.gates.level.copy_(torch.linspace(-1.2, 0, size.n_hubs))
    return layer.to(dtype)


def draw(size: Size, seed: int = 0, length: int | None = None) -> Tensor:
    """Standard normal tokens [B, N, D] in float64."""
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(size.batch, length or size.length, size.d_model, generator=gen, dtype=torch.float64)
