"""Claim `routing-flow-causal`: two Mamba layers in one direction do not route."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance
from audits.experiments.routing._task import MQAR

CLAIM = mechanism_claim(
    "routing-flow-causal",
    "Two layers of unidirectional Flow stay at chance: 2.2 % on distant evidence, 24.2 % on MQAR.",
    {"distant evidence": "2.2 % (accuracy 1.8 %)", "MQAR": "24.2 % (accuracy 5.6 %)"},
    Says(at_chance, "flow-causal"),
    Says(at_chance, "flow-causal", (MQAR,)),
)
