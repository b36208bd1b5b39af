"""Claim `routing-raw`: embeddings without any mixing of tokens do not route."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance
from audits.experiments.routing._task import FAR, MQAR, PLAIN

CLAIM = mechanism_claim(
    "routing-raw",
    "Raw embeddings stay at chance: 1.2 % on distant evidence, 25.6 % on MQAR.",
    {"distant evidence": "1.2 % (without layers 1.1 to 2.5 %)", "MQAR": "25.6 % (accuracy 7.6 %)"},
    Says(at_chance, "raw", (FAR, PLAIN)),
    Says(at_chance, "raw", (MQAR,)),
)
