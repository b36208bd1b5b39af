"""Claim `routing-sparse`: a window and a few global tokens are enough."""

from audits.claims._routing import routes
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-sparse",
    "Sparse bidirectional attention, a window of 32 and 16 random global tokens, routes at 99.7 %.",
    {"window and global tokens": "99.7 %"},
    Says(routes, "sparse"),
)
