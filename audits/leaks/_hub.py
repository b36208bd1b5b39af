"""Small Hub-GPTs with one stage of the HubRouter layer replaced: what the hub twins share."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hubrouter import HubRouter, ModelConfig, SequenceModel

VOCAB = 32
CONFIG = ModelConfig(vocab_size=VOCAB, pattern="HH", d_model=16, n_heads=2, n_hubs=4, k=4, chunk=8)

Layer = Callable[[ModelConfig], HubRouter]


def hub_gpt(layer: Layer | None = None, config: ModelConfig = CONFIG) -> SequenceModel:
    """A Hub-GPT whose `H` layers are built by `layer`; the weights depend on the configuration alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SequenceModel(config, None if layer is None else {"H": layer})
