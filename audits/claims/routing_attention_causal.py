"""Claim `routing-attention-causal`: the paper's own row for causal attention."""

from audits.claims._routing import routes
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-attention-causal",
    "One causal attention layer, trained end to end, routes at 98.9 to 99.2 %.",
    {"causal attention": "98.9 to 99.2 % (accuracy 72.6 %; its label and the bidirectional one swap between tables)"},
    Says(routes, "attention-causal"),
)
