"""Claim `routing-memory-banks`: the paper gives memory banks a number and no description; the reading is ours."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import short_of

CLAIM = mechanism_claim(
    "routing-memory-banks",
    "Memory banks do not route: 12 %.",
    {"memory banks": "12 % (chance of 2 of 16: 12.5 %)"},
    Says(short_of, "memory banks"),
)
