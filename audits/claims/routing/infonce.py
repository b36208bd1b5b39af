"""Claim `routing-infonce`: contrastive pretraining of the projections does not make raw embeddings route."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance

CLAIM = mechanism_claim(
    "routing-infonce",
    "InfoNCE pretraining of the projections stays at chance: 1.6 % frozen, 2.2 % tuned further.",
    {"frozen": "1.6 %", "tuned": "2.2 %"},
    Says(at_chance, "InfoNCE, frozen"),
    Says(at_chance, "InfoNCE, tuned"),
)
