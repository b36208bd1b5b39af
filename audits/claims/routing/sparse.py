"""Claim `routing-sparse`: a window and a few global tokens are enough."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-sparse",
    "Sparse bidirectional attention, a window of 32 and 16 random global tokens, routes at 99.7 %.",
    {"window and global tokens": "99.7 %"},
    Says(routes, "sparse"),
)
