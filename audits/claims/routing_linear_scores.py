"""Claim `routing-linear-scores`: scores of the form of linear attention are no substitute for dot products."""

from audits.claims._routing import short_of
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-linear-scores",
    "Linear-attention scoring does not route: 28.7 %.",
    {"linear-attention scores": "28.7 %"},
    Says(short_of, "linear-attention scores"),
)
