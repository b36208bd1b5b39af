"""Claim `routing-memory-banks`: the paper gives memory banks a number and no description; the reading is ours."""

from audits.claims._routing import short_of
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-memory-banks",
    "Memory banks do not route: 12 %.",
    {"memory banks": "12 % (chance of 2 of 16: 12.5 %)"},
    Says(short_of, "memory banks"),
)
