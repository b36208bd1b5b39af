"""Claim `routing-bloom`: exact matching without learning routes."""

from audits.claims._routing import routes
from audits.claims._routing_claim import Says, mechanism_claim
from audits.claims.experiments._diagnostic_task import FAR, PLAIN

CLAIM = mechanism_claim(
    "routing-bloom",
    "A Bloom filter, which learns nothing, routes at 90.9 %.",
    {"Bloom filter": "90.9 %"},
    Says(routes, "bloom filter", (FAR, PLAIN)),
)
