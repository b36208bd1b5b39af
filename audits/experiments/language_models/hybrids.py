"""Jamba, and Hub-Jamba with strictly causal and with bidirectional routing, and Hub-GPT."""

from __future__ import annotations

from audits.evidence.experiment import Options
from audits.experiments.language_models._language_model import BIDIRECTIONAL, SIZES, Arm, study
from hubrouter.patterns import hub_gpt, hub_jamba, jamba

# Jamba's period of 8 leaves one attention layer in 12 and none in fewer than 5, so ours is shorter (our choice).
PERIODS = {2: (2, 1), 4: (4, 2), 12: (4, 2)}  # layers: (attn_layer_period, attn_layer_offset)


def arms(options: Options) -> tuple[Arm, ...]:
    """The baseline, the hybrid in both arms, and the decoder that the paper compares with Jamba."""
    layers = SIZES[options.tier].layers
    hybrid = hub_jamba(layers, *PERIODS[layers])
    return (Arm(jamba(layers, *PERIODS[layers])), Arm(hybrid), Arm(hybrid, BIDIRECTIONAL), Arm(hub_gpt(layers)))


EXPERIMENT = study("hybrids", arms)
