"""Claim `routing-frozen`: a frozen language model does not route, and does with one trained layer on top."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import routes, short_of

CLAIM = mechanism_claim(
    "routing-frozen",
    "Representations of a frozen causal language model do not route (22.5 to 35.0 %); with one bidirectional layer "
    "trained on them they do (99.4 %).",
    {
        "frozen Pythia-1B": "35.0 %",
        "frozen Mamba-1.4B": "28.7 %",
        "frozen Mamba-370M": "22.5 %",
        "frozen Pythia-1B and one trained layer": "99.4 %",
    },
    Says(short_of, "frozen language model"),
    Says(routes, "frozen language model, attention"),
)
