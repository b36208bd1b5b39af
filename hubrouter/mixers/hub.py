"""`H`: the HubRouter layer."""

from __future__ import annotations

from hubrouter.config import ModelConfig
from hubrouter.router import HubRouter

LETTER = "H"


def build(config: ModelConfig) -> HubRouter:
    """One HubRouter layer of the model."""
    return HubRouter(config.router())
