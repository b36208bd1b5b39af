"""Scores standardised over the whole sequence."""

from __future__ import annotations

from torch import Tensor

from audits.leaks._hub import CONFIG, VOCAB, hub_gpt
from audits.twin import Twin
from audits.verdicts import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.score import Score


class StandardisedScore(Score):
    """Standardises by mean and deviation of all scores of the row, both detached as statistics often are."""

    def forward(self, fingerprint: Tensor) -> Tensor:
        """Scores of mean 0 and deviation 1 over time."""
        score = super().forward(fingerprint)
        flat = score.detach().flatten(1)
        mean, deviation = flat.mean(1)[:, None, None], flat.std(1, correction=0)[:, None, None]
        return (score - mean) / (deviation + 1e-3)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer with standardised scores; its parameters are those of the causal layer."""
    router = HubRouter(config.router())
    score = StandardisedScore(config.router())
    score.load_state_dict(router.score.state_dict())
    router.score = score
    return router


def leaky(config: ModelConfig = CONFIG) -> SequenceModel:
    """Hub-GPT whose gates depend on statistics of the future."""
    return hub_gpt(layer, config)


def clean(config: ModelConfig = CONFIG) -> SequenceModel:
    """The strictly causal Hub-GPT."""
    return hub_gpt(config=config)


TWIN = Twin(
    name="hub_statistics_over_time",
    mechanism="Scores are standardised over the sequence with detached statistics, so every gate feels later scores.",
    origin="statistics over time as in Wan-Video/Wan2.1#294, on HubRouter",
    leak_class=LeakClass.STATISTIC,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
