"""Claim `routing-linear-scores`: scores of the form of linear attention are no substitute for dot products."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import short_of

CLAIM = mechanism_claim(
    "routing-linear-scores",
    "Linear-attention scoring does not route: 28.7 %.",
    {"linear-attention scores": "28.7 %"},
    Says(short_of, "linear-attention scores"),
)
