"""Small Hub-GPTs with one stage of the HubRouter layer replaced: what the leaks of the hub layer share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from audits.leaks._planted import PlantedLeak, weight_seed
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel

VOCAB = 32
CONFIG = ModelConfig(vocab_size=VOCAB, pattern="HH", d_model=16, n_heads=2, n_hubs=4, k=4, chunk=8)

Layer = Callable[[ModelConfig], HubRouter]


def hub_gpt(layer: Layer | None = None, config: ModelConfig = CONFIG) -> SequenceModel:
    """A Hub-GPT whose `H` layers are built by `layer`; equal configurations have equal weights, unless redrawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weight_seed(0))
        return SequenceModel(config, None if layer is None else {"H": layer})


def with_stage(config: ModelConfig, name: str, stage: nn.Module) -> HubRouter:
    """A causal layer with one stage replaced by another kind of the same stage; its parameters stay what they were."""
    router = HubRouter(config.router())
    stage.load_state_dict(router.get_submodule(name).state_dict())
    router.set_submodule(name, stage)
    return router


def hub_leak(
    name: str, layer: Layer, leak_class: LeakClass, *, mechanism: str, origin: str, config: ModelConfig = CONFIG
) -> PlantedLeak:
    """The planted leak of a defective layer: a Hub-GPT built of it, and the strictly causal Hub-GPT as its control."""
    return PlantedLeak(
        name=name,
        mechanism=mechanism,
        origin=origin,
        leak_class=leak_class,
        leaky=lambda: hub_gpt(layer, config),
        clean=lambda: hub_gpt(config=config),
        vocab_size=VOCAB,
    )
