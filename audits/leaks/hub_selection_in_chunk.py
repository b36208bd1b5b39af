"""The attack on the published fix: a causal council mask, but the top-k is taken inside the chunk."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from audits.leaks._hub import CONFIG, hub_gpt, hub_leak
from audits.results import LeakClass
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.config import RouterConfig
from hubrouter.council import Council, Members, Selected
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


class NarrowCouncil(OwnChunkSelection):
    """The same reduced to its defect, for a gradient to exploit: a query reads the chunk's strongest claim alone.

    Neither itself nor any token of earlier chunks dilutes what the choice reveals; a query before the strongest reads
    nothing. The defect, a ranking over the whole chunk under a causal mask, is as it was.
    """

    def __init__(self, config: RouterConfig, select: RememberedClaims) -> None:
        super().__init__(config, select)
        self.k = 1

    def forward(self, q: Tensor, selected: Selected, own: Members | None = None) -> Tensor:
        """The council without the tokens of the chunks before."""
        return super().forward(q, selected._replace(valid=torch.zeros_like(selected.valid)), own)

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """The causal mask, restricted to the strongest among the rivals of each query."""
        groups, size = own.valid.shape[1:]
        latest = self.select[0].latest
        claim = functional.pad(latest, (0, groups * size - latest.shape[1]), value=float("-inf"))
        claims = claim.reshape(-1, groups, 1, size).expand(-1, -1, queries, -1)
        best = claims.masked_fill(~self.rivals(queries, size, claim.device), float("-inf")).argmax(-1, keepdim=True)
        chosen = torch.zeros_like(claims, dtype=torch.bool).scatter(-1, best, value=True)
        return Council.own_mask(self, queries, own) & chosen

    def rivals(self, queries: int, size: int, device: torch.device) -> Tensor:
        """Whom the ranking for each query compares, bool [queries, size]: the whole chunk, the planted defect."""
        return torch.ones(queries, size, dtype=torch.bool, device=device)


class NarrowCausalCouncil(NarrowCouncil):
    """Its control: the strongest claim is looked for among the tokens up to the query."""

    def rivals(self, queries: int, size: int, device: torch.device) -> Tensor:
        """The tokens up to the query."""
        return torch.ones(size, size, dtype=torch.bool, device=device).tril()[size - queries :]


def layer(config: ModelConfig) -> HubRouter:
    """A HubRouter layer with the published fix only; its parameters are those of the causal layer."""
    return _with_council(config, OwnChunkSelection)


def _with_council(config: ModelConfig, council: type[OwnChunkSelection]) -> HubRouter:
    router = HubRouter(config.router())
    select = RememberedClaims(config.router())
    router.select, router.council = select, council(config.router(), select)
    return router


def narrow_leaky(config: ModelConfig = CONFIG) -> SequenceModel:
    """The leaky Hub-GPT with a narrow council: the adversarial variant for `hubrouter-audit bet`."""
    return hub_gpt(lambda of: _with_council(of, NarrowCouncil), config)


def narrow_clean(config: ModelConfig = CONFIG) -> SequenceModel:
    """The causal Hub-GPT with an equally narrow council."""
    return hub_gpt(lambda of: _with_council(of, NarrowCausalCouncil), config)


LEAK = hub_leak(
    "hub_selection_in_chunk",
    layer,
    LeakClass.SELECTION,
    mechanism="Top-k inside the chunk under a causal council mask: later tokens decide which earlier ones are read.",
    origin="our attack on the fix of arXiv:2604.22442; known from expert-choice routing and Mixture-of-Depths",
)
leaky, clean = LEAK.leaky, LEAK.clean
