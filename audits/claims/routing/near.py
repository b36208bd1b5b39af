"""Claim `routing-near`: evidence nearby is found, distant evidence is not."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance, routes
from audits.experiments.routing._task import FAR, NEAR

CLAIM = mechanism_claim(
    "routing-near",
    "A Transformer of four layers finds evidence nearby (100 %) and stays at chance on distant evidence (1.9 %).",
    {"near": "100 %", "far": "1.9 % (a plain Transformer, without a router; ours has one, trained with it)"},
    Says(routes, "attention, 4 layers", (NEAR,)),
    Says(at_chance, "attention, 4 layers", (FAR,)),
)
