"""Graduated replacement: a Transformer with a growing share of its attention replaced, in both arms of routing."""

from __future__ import annotations

from audits.evidence.experiment import Options
from audits.experiments.language_models._language_model import BIDIRECTIONAL, CAUSAL, SIZES, Arm, study
from hubrouter.patterns import graduated, transformer

SHARES = (0.25, 0.5, 0.75, 1.0)


def arms(options: Options) -> tuple[Arm, ...]:
    """The Transformer and every share, causal and bidirectional; none in `quick`: two layers have no quarter."""
    layers = SIZES[options.tier].layers
    if layers % len(SHARES):
        return ()
    patterns = [graduated(layers, share) for share in SHARES]
    return (Arm(transformer(layers)), *(Arm(p, routing) for p in patterns for routing in (CAUSAL, BIDIRECTIONAL)))


EXPERIMENT = study("graduated", arms)
