"""Claim `routing-bandits`: linear bandits do not find the answer."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance

CLAIM = mechanism_claim(
    "routing-bandits",
    "Contextual bandits stay at chance: LinUCB 3.6 %, Thompson sampling 0.7 %, OFUL 3.6 %.",
    {"LinUCB": "3.6 %", "Thompson": "0.7 %", "OFUL": "3.6 %"},
    Says(at_chance, "LinUCB"),
    Says(at_chance, "Thompson"),
    Says(at_chance, "OFUL"),
)
