"""Claim `routing-flow`: a Mamba layer in each direction routes, with a rank-1 router too."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-flow",
    "Bidirectional Mamba routes at 99.5 %, and at 99.7 % with the rank-1 router.",
    {"dot products": "99.5 % (accuracy 32.2 %)", "rank-1": "99.7 % (accuracy 30.6 %)"},
    Says(routes, "flow"),
    Says(routes, "flow, rank-1"),
)
