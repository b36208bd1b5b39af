"""Claim `routing-segments`: to pick pooled segments in place of tokens fails."""

from audits.claims.routing._claim import Says, mechanism_claim
from audits.claims.routing._runs import short_of

CLAIM = mechanism_claim(
    "routing-segments",
    "Segment routing does not work, neither on causal nor on bidirectional representations: 23.8 and 25.6 %.",
    {"unidirectional": "23.8 %", "bidirectional": "25.6 %", "segments": "32 tokens, mean or maximum"},
    Says(short_of, "segments-causal"),
    Says(short_of, "segments"),
    Says(short_of, "segments, maximum"),
)
