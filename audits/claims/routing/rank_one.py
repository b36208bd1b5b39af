"""Claim `routing-rank-one`: a router whose score is a product of two numbers is enough after attention."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-rank-one",
    "After one bidirectional layer a rank-1 projection routes at 98.8 %.",
    {"rank-1": "98.8 %"},
    Says(routes, "attention, rank-1"),
)
