"""Claim `routing-attention-causal`: the paper's own row for causal attention."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-attention-causal",
    "One causal attention layer, trained end to end, routes at 98.9 to 99.2 %.",
    {"causal attention": "98.9 to 99.2 % (accuracy 72.6 %; its label and the bidirectional one swap between tables)"},
    Says(routes, "attention-causal"),
)
