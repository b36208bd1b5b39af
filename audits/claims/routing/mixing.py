"""Claim `routing-mixing`: mixing without content, be it by a global mean or by Fourier transforms, does not route."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import at_chance

CLAIM = mechanism_claim(
    "routing-mixing",
    "A global mean that is broadcast and Fourier mixing stay at chance: 1.9 % and 0.9 %.",
    {"global mean": "1.9 % (accuracy 1.0 %)", "Fourier": "0.9 % (accuracy 1.8 %)"},
    Says(at_chance, "global mean"),
    Says(at_chance, "fourier"),
)
