"""Claim `routing-closed-loop`: a query refined by what it has read stays where it was."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance

CLAIM = mechanism_claim(
    "routing-closed-loop",
    "Closed-loop refinement of the query stays at chance: 1.7 %.",
    {"closed loop (DOL)": "1.7 %"},
    Says(at_chance, "closed loop"),
)
