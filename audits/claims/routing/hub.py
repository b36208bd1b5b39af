"""Claim `routing-hub`: HubRouter itself put to the companion paper's question."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-hub",
    "HubRouter routes to distant evidence: by the scores that it selects with, and as a layer below an Investigator.",
    {},
    Says(routes, "hub scores"),
    Says(routes, "hub layer"),
    source="our question to arXiv:2604.22442, by the diagnostic of arXiv:2603.20997",
)
