"""The attack on the published fix: a causal council mask, but the top-k is taken inside the chunk."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audits.leaks._hub import CONFIG, VOCAB, hub_gpt
from audits.twin import Twin
from audits.verdicts import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.config import RouterConfig
from hubrouter.council import Council, Members
from hubrouter.select import Select


class RememberedClaims(Select):
    """Keeps the claims of the sequence under way for the council."""

    def claims(self, score: Tensor, valid: Tensor, recent: Tensor) -> Tensor:
        """Claims as ever, remembered."""
        self.latest = super().claims(score, valid, recent)
        return self.latest


class OwnChunkSelection(Council):
    """Of its own chunk a query reads only the k strongest claims among *all* tokens of the chunk, then masks causally.

    Whether token j is read depends on the scores of later tokens of the chunk, although no later token is ever read:
    the derivative of that choice is zero everywhere.
    """

    def __init__(self, config: RouterConfig, select: RememberedClaims) -> None:
        super().__init__()
        self.k = max(1, min(config.k, config.chunk // 4))
        self.select = (select,)  # in a tuple, so that the stage is not registered twice

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """The causal mask, restricted to the chunk's selected tokens and the query itself."""
        groups, size = own.valid.shape[1:]
        latest = self.select[0].latest
        claim = functional.pad(latest, (0, groups * size - latest.shape[1]), value=float("-inf"))
        order = claim.reshape(-1, groups, size).sort(dim=-1, descending=True, stable=True).indices
        chosen = torch.zeros_like(own.valid).scatter(-1, order[..., : self.k], value=True)
        itself = torch.eye(size, dtype=torch.bool, device=claim.device)[size - queries :]
        return super().own_mask(queries, own) & (chosen[:, :, None, :] | itself)


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer with the published fix only; its parameters are those of the causal layer."""
    router = HubRouter(config.router())
    select = RememberedClaims(config.router())
    router.select, router.council = select, OwnChunkSelection(config.router(), select)
    return router


def leaky(config: ModelConfig = CONFIG) -> SequenceModel:
    """Hub-GPT with the causal council mask and selection inside the chunk."""
    return hub_gpt(layer, config)


def clean(config: ModelConfig = CONFIG) -> SequenceModel:
    """The strictly causal Hub-GPT, whose selection is frozen at the chunk's border."""
    return hub_gpt(config=config)


TWIN = Twin(
    name="hub_selection_in_chunk",
    mechanism="Top-k inside the chunk under a causal council mask: later tokens decide which earlier ones are read.",
    origin="our attack on the fix of arXiv:2604.22442; known from expert-choice routing and Mixture-of-Depths",
    leak_class=LeakClass.SELECTION,
    leaky=leaky,
    clean=clean,
    vocab_size=VOCAB,
)
