"""Claim `routing-budget`: half of all positions suffice for a bandit, a quarter does not."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance, routes

CLAIM = mechanism_claim(
    "routing-budget",
    "A bandit with an adaptive budget routes when it may read half of the positions (91.2 %), not a quarter (1.6 %).",
    {"50 %": "91.2 %, oscillating", "25 %": "1.6 %"},
    Says(routes, "budget 50 %"),
    Says(at_chance, "budget 25 %"),
)
