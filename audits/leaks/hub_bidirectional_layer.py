"""The bidirectional HubRouter, as published for hybrids, used in a language model."""

from __future__ import annotations

from dataclasses import replace

from audits.leaks._hub import CONFIG, VOCAB, hub_gpt
from audits.leaks._planted import PlantedLeak
from audits.results import LeakClass
from hubrouter import SequenceModel


def leaky() -> SequenceModel:
    """A language model of bidirectional HubRouter layers."""
    return hub_gpt(config=replace(CONFIG, causal=False))


def clean() -> SequenceModel:
    """The strictly causal Hub-GPT."""
    return hub_gpt()


LEAK = PlantedLeak(
    name="hub_bidirectional_layer",
    mechanism="Hubs, ranking and council all see the whole sequence.",
    origin="arXiv:2604.22442: the layer outside Hub-GPT is not called strictly causal",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
