"""What the machine can do at most: a copy and a matrix product, timed in the same rounds as the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from audits.experiments.bench._steps import Step

COPIED = {"cpu": 2**26, "cuda": 2**30}  # bytes; many times what a processor's caches hold
SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices


@dataclass(frozen=True)
class Ceiling:
    """A step of known work: `amount` bytes moved (`copy`) or operations done (`matmul`)."""

    name: str
    amount: float
    step: Step

    def told(self, seconds: Sequence[float]) -> Mapping[str, Any]:
        """How it is recorded."""
        return {"amount": self.amount, "seconds": list(seconds)}


def ceilings(device: str, dtype: str) -> tuple[Ceiling, ...]:
    """The copy reads and writes each byte; the product is one of the layers' own number format."""
    kind = "cuda" if device.startswith("cuda") else "cpu"
    size, side, number = COPIED[kind], SIDE[kind], getattr(torch, dtype)
    source, target = (torch.ones(size, dtype=torch.uint8, device=device) for _ in range(2))
    a, b, product = (torch.ones(side, side, dtype=number, device=device) for _ in range(3))
    return (
        Ceiling("copy", 2.0 * size, Step(lambda: target.copy_(source), device)),
        Ceiling("matmul", 2.0 * side**3, Step(lambda: torch.mm(a, b, out=product), device)),
    )
