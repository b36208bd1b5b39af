"""Claim `routing-closed-loop`: a query refined by what it has read stays where it was."""

from audits.claims._routing import at_chance
from audits.claims._routing_claim import Says, mechanism_claim

CLAIM = mechanism_claim(
    "routing-closed-loop",
    "Closed-loop refinement of the query stays at chance: 1.7 %.",
    {"closed loop (DOL)": "1.7 %"},
    Says(at_chance, "closed loop"),
)
