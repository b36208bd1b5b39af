"""Claim `routing-hub`: HubRouter itself put to the companion paper's question."""

from audits.claims._routing import routes
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-hub",
    "HubRouter routes to distant evidence: by the scores that it selects with, and as a layer below an Investigator.",
    {},
    Says(routes, "hub scores"),
    Says(routes, "hub layer"),
    source="our question to arXiv:2604.22442, by the diagnostic of arXiv:2603.20997",
)
