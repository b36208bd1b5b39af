"""Claim `routing-random-projection`: without trained projections nothing is found in a trained representation."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance

CLAIM = mechanism_claim(
    "routing-random-projection",
    "Random W_q and W_k on the representations of one Transformer layer stay at chance: 2.6 %.",
    {"random projections": "2.6 %"},
    Says(at_chance, "attention", key="random_projection"),
)
