"""The leak that HubRouter's author found: the council is bidirectional inside a chunk."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from audits.leaks._hub import CONFIG, hub_leak, with_stage
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig
from hubrouter.council import Council, Members


class BidirectionalCouncil(Council):
    """Every query may read its whole chunk."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """True where the token is real, at any position of the chunk."""
        return own.valid[:, :, None, :].expand(-1, -1, queries, -1)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer as it was before the fix; its parameters are those of the causal layer."""
    return with_stage(config, "council", BidirectionalCouncil())


LEAK = hub_leak(
    "hub_bidirectional_council",
    layer,
    LeakClass.DENSE,
    mechanism="The council attends to the whole chunk of the query, so a token sees the rest of its chunk.",
    origin="arXiv:2604.22442, before the fix",
    config=replace(CONFIG, n_heads=4),  # a head as wide as a chunk is long looks like tokens to who looks for the line
)
leaky, clean = LEAK.leaky, LEAK.clean
