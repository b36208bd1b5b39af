"""Claim `routing-bloom`: exact matching without learning routes."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes
from audits.experiments.routing._task import FAR, PLAIN

CLAIM = mechanism_claim(
    "routing-bloom",
    "A Bloom filter, which learns nothing, routes at 90.9 %.",
    {"Bloom filter": "90.9 %"},
    Says(routes, "bloom filter", (FAR, PLAIN)),
)
