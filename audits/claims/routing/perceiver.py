"""Claim `routing-perceiver`: tokens that meet in a few latents only still route."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes

CLAIM = mechanism_claim(
    "routing-perceiver",
    "Perceiver hubs route: 16 of them at 99.5 %, a single one at 98.8 %.",
    {"M = 16": "99.5 % (accuracy 73.0 %)", "M = 1": "98.8 % (accuracy 63.5 %)"},
    Says(routes, "perceiver, M = 16"),
    Says(routes, "perceiver, M = 1"),
)
