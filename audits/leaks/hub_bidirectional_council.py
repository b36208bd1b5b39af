"""The leak that HubRouter's author found: the council is bidirectional inside a chunk."""

from __future__ import annotations

from torch import Tensor

from audits.leaks._hub import CONFIG, VOCAB, hub_gpt
from audits.twin import Twin
from audits.verdicts import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.council import Council, Members


class BidirectionalCouncil(Council):
    """Every query may read its whole chunk."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """True where the token is real, wherever it stands in the chunk."""
        return own.valid[:, :, None, :].expand(-1, -1, queries, -1)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer as it was before the fix; its parameters are those of the causal layer."""
    router = HubRouter(config.router())
    router.council = BidirectionalCouncil()
    return router


def leaky(config: ModelConfig = CONFIG) -> SequenceModel:
    """The pre-fix Hub-GPT."""
    return hub_gpt(layer, config)


def clean(config: ModelConfig = CONFIG) -> SequenceModel:
    """The strictly causal Hub-GPT."""
    return hub_gpt(config=config)


TWIN = Twin(
    name="hub_bidirectional_council",
    mechanism="The council attends to the whole chunk of the query, so a token sees the rest of its chunk.",
    origin="arXiv:2604.22442, before the fix",
    leak_class=LeakClass.DENSE,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
