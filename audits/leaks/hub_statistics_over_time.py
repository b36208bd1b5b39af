"""Scores standardised over the whole sequence."""

from __future__ import annotations

from torch import Tensor

from audits.leaks._hub import hub_leak, with_stage
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig
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
    return with_stage(config, "score", StandardisedScore(config.router()))


LEAK = hub_leak(
    "hub_statistics_over_time",
    layer,
    LeakClass.STATISTIC,
    mechanism="Scores are standardised over the sequence with detached statistics: every gate depends on later scores.",
    origin="statistics over time as in Wan-Video/Wan2.1#294, on HubRouter",
)
leaky, clean = LEAK.leaky, LEAK.clean
