"""Random W_q and W_k that are never trained: whether the projections matter, or the representation alone."""

from __future__ import annotations

import torch

from hubrouter.diagnostic.config import DiagnosticConfig, Part
from hubrouter.diagnostic.routers.investigator import Investigator


class RandomProjection(Investigator):
    """An untrained Investigator, initialised from the configuration's seed."""

    def __init__(self, config: DiagnosticConfig) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            super().__init__(config)
        self.requires_grad_(False)


PART = Part("O(N D) a query", RandomProjection)
