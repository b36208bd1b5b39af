"""Doses of a leak: readings of the council before its fix, from one later token of a chunk to all of them.

The paper does not say how much the council saw. Each dose is a HubRouter layer with the parameters of the strictly
causal one, so that trained weights can be moved into that. How much of a dose can be used is bounded by the share of
positions whose next token it lets them read: a gain of at most that share of the loss, where it is read directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from audits.experiments.language_models._arm import BIDIRECTIONAL, CAUSAL
from audits.leaks import hub_bidirectional_council, hub_own_chunk_summary, hub_selection_in_chunk
from audits.leaks.hub_selection_in_chunk import RememberedClaims
from hubrouter import HubRouter, ModelConfig, SequenceModel
from hubrouter.council import Council, Members
from hubrouter.select import NO_CLAIM, Chosen

COUNCIL, SELECTION, SUMMARY = "council", "selection", "own summary"
BOTH_WAYS, CAUSAL_TOP = "chunk's top 4", "chunk's top 4, causal"
LATER = {f"later top {count}": count for count in (1, 2, 4, 8)}
TOP = 4


class _Ranked(Council):
    """A council that knows the claims of its chunks; `count` of them are chosen."""

    def __init__(self, select: RememberedClaims, count: int) -> None:
        super().__init__()
        self.select, self.count = (select,), count  # in a tuple, so that the stage is not registered twice

    def claims(self, own: Members) -> Tensor:
        """Claims of the tokens of each chunk, [B, G, C]."""
        groups, size = own.valid.shape[1:]
        latest = self.select[0].latest
        return F.pad(latest, (0, groups * size - latest.shape[1]), value=NO_CLAIM).view(-1, groups, size)

    def top(self, claims: Tensor) -> Tensor:
        """True at the strongest claims along the last axis."""
        order = claims.sort(dim=-1, descending=True, stable=True).indices[..., : self.count]
        return torch.zeros_like(claims, dtype=torch.bool).scatter(-1, order, value=True)

    def itself(self, queries: int, own: Members) -> Tensor:
        """True where a query meets itself, [L, C]."""
        size = own.valid.shape[-1]
        return torch.eye(size, dtype=torch.bool, device=own.valid.device)[size - queries :]


class LaterTop(_Ranked):
    """The clean mask, and the chunk's strongest claims for every query, later ones included."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """[B, G, L, C]."""
        chosen = self.top(self.claims(own)) & own.valid
        return super().own_mask(queries, own) | chosen[:, :, None]


class TopBothWays(_Ranked):
    """Of its chunk a query reads itself and the strongest claims alone, wherever they are."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """[B, G, L, C]."""
        return (self.top(self.claims(own))[:, :, None] | self.itself(queries, own)) & own.valid[:, :, None]


class TopUpToQuery(_Ranked):
    """The causal twin of a top k in the chunk: the strongest claims among the tokens up to the query."""

    def own_mask(self, queries: int, own: Members) -> Tensor:
        """[B, G, L, C]."""
        clean = super().own_mask(queries, own)
        claims = self.claims(own)[:, :, None].expand(clean.shape)
        return (self.top(claims.masked_fill(~clean, NO_CLAIM)) | self.itself(queries, own)) & clean


def _ranked(council: type[_Ranked], count: int, config: ModelConfig) -> HubRouter:
    router = HubRouter(config.router())
    select = RememberedClaims(config.router())
    router.select, router.council = select, council(select, count)
    return router


# None: what `ModelConfig.causal` says. All have the same parameters.
ROUTINGS: Mapping[str, Callable[[ModelConfig], HubRouter] | None] = {
    CAUSAL: None,
    BIDIRECTIONAL: None,
    COUNCIL: hub_bidirectional_council.layer,
    SELECTION: hub_selection_in_chunk.layer,
    SUMMARY: hub_own_chunk_summary.layer,
    BOTH_WAYS: partial(_ranked, TopBothWays, TOP),
    CAUSAL_TOP: partial(_ranked, TopUpToQuery, TOP),
    **{name: partial(_ranked, LaterTop, count) for name, count in LATER.items()},
}
SAFE = (CAUSAL, CAUSAL_TOP)  # routings that must not leak


@torch.no_grad()
def readable(model: SequenceModel, tokens: Tensor) -> float | None:
    """The share of positions at which some hub layer may read the next token directly; None where summaries carry it.

    Args:
        model: of hub layers.
        tokens: int64 [B, N], N whole chunks.
    """
    layers = [module for module in model.modules() if isinstance(module, HubRouter)]
    with _recorded(layers) as seen:
        model(tokens)
    found = torch.zeros(len(tokens), tokens.shape[1], dtype=torch.bool, device=tokens.device)
    for mask in seen:
        found |= mask
    return float(found.double().mean())


@contextmanager
def _recorded(layers: list[HubRouter]) -> Iterator[list[Tensor]]:
    """For each layer in a forward pass: True where a position may read the next one, [B, N]."""
    seen: list[Tensor] = []

    def own_mask(inner: Callable[[int, Members], Tensor], queries: int, own: Members) -> Tensor:
        mask = inner(queries, own)
        seen.append(F.pad(mask.diagonal(offset=1, dim1=-2, dim2=-1), (0, 1)).flatten(1))
        return mask

    def chosen(layer: HubRouter, tokens: int, picked: Chosen) -> None:
        read = F.one_hot((picked.token[:, -1] - layer.config.slots).clamp_min(0), tokens).bool()
        read &= (picked.claim[:, -1] != NO_CLAIM)[..., None]
        seen.append(F.pad(read.any(1)[:, 1:], (0, 1)))

    hooks = []
    for layer in layers:
        if layer.config.causal:
            layer.council.own_mask = partial(own_mask, layer.council.own_mask)  # type: ignore[method-assign]
        else:
            hooks.append(
                layer.select.register_forward_hook(
                    lambda _, given, out, layer=layer: chosen(layer, given[0].shape[1] * given[0].shape[2], out)
                )
            )
    try:
        yield seen
    finally:
        for layer in layers:
            layer.council.__dict__.pop("own_mask", None)
        for hook in hooks:
            hook.remove()
