"""Rows of unequal length: padding is removed before routing, so that a row never depends on how it was padded.

Chunk borders are then counted from each row's first real token, wherever the padding is: left, right or in between. In
a stream rows are then at different positions, so rows with equally many tokens are routed together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from hubrouter.adapters.errors import AdapterError
from hubrouter.encode import Summary
from hubrouter.router import HubRouter
from hubrouter.shapes import Bool, Float, Int
from hubrouter.state import RouterState


@dataclass(frozen=True)
class RaggedState:
    """The state of a stream of B rows: `RouterState`, with every row at its own position.

    All fields are tensors with the rows first, so that a cache can select, repeat or move the rows of each.

    Attributes:
        columns: tokens processed, padding included; the same in every row.
        seen: real tokens among them.
        peak: with `total` and `weighted`, the hubs' summary of all closed chunks.
        total: see `peak`.
        weighted: see `peak`.
        claim: claims of the selected tokens.
        selected_k: their rotated keys.
        selected_v: their gated values.
        recent: scores of the last `neighbours` tokens before the open chunk.
        open_k: keys of the open chunk; the first `seen` mod C of C - 1 slots are filled.
        open_v: its values.
        open_score: its scores.
    """

    columns: Int[Tensor, " B"]
    seen: Int[Tensor, " B"]
    peak: Float[Tensor, "B 1 H M"]
    total: Float[Tensor, "B 1 H M"]
    weighted: Float[Tensor, "B 1 H M E"]
    claim: Float[Tensor, "B K"]
    selected_k: Float[Tensor, "B K H E"]
    selected_v: Float[Tensor, "B K H E"]
    recent: Float[Tensor, "B R"]
    open_k: Float[Tensor, "B S H E"]
    open_v: Float[Tensor, "B S H E"]
    open_score: Float[Tensor, "B S"]

    @property
    def past(self) -> int:
        """Tokens processed in every row, padding included."""
        return int(self.columns[0]) if len(self.columns) else 0

    def take(self, rows: Int[Tensor, " Q"]) -> RaggedState:
        """The state of a batch whose row i continues row rows[i] of this one."""
        return RaggedState(**{name: part[rows.to(part.device)] for name, part in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def start(router: HubRouter, x: Float[Tensor, "B N D"]) -> RaggedState:
    """The state before any token."""
    zero = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return _packed(router.start(x), zero, zero, router.config.chunk)


def route(router: HubRouter, x: Float[Tensor, "B N D"], real: Bool[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
    """The whole of every row at once; outputs at padding are zero."""
    if bool(real.all()):
        whole: Tensor = router(x)
        return whole
    order = real.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    index = order[..., None].expand_as(x)
    routed = router(x.gather(1, index), real.gather(1, order))
    return torch.zeros_like(routed).scatter(1, index, routed)


def stream(
    router: HubRouter, x: Float[Tensor, "B N D"], real: Bool[Tensor, "B N"], before: RaggedState | None = None
) -> tuple[Float[Tensor, "B N D"], RaggedState]:
    """The next N tokens of every row; equals `route` on the whole.

    Calls the layer once for each number of real tokens so far: padding on the left costs batching.

    Raises:
        AdapterError: the state has another number of rows.
        ConfigError: the layer is bidirectional.
    """
    before = start(router, x) if before is None else before
    if len(before.seen) != len(x):
        raise AdapterError(f"the cache has {len(before.seen)} rows, and {len(x)} are to be continued")
    steps = list(_equal_rows(before.seen, real))
    if len(steps) == 1:
        return _stream_equal(router, x, real, before)
    outputs, states, order = [], [], []
    for rows in steps:
        output, state = _stream_equal(router, x[rows], real[rows], before.take(rows))
        outputs.append(output)
        states.append(state.tensors())
        order.append(rows)
    back = torch.cat(order).argsort()
    joined = {name: torch.cat([state[name] for state in states])[back] for name in states[0]}
    return torch.cat(outputs)[back], RaggedState(**joined)


def _equal_rows(seen: Int[Tensor, " B"], real: Bool[Tensor, "B N"]) -> Iterator[Int[Tensor, " Q"]]:
    """Rows with equally many tokens so far and equally many new ones."""
    steps, which = torch.stack([seen, real.sum(1)]).unique(dim=1, return_inverse=True)
    for step in range(steps.shape[1]):
        yield (which == step).nonzero().squeeze(1)


def _stream_equal(
    router: HubRouter, x: Float[Tensor, "Q N D"], real: Bool[Tensor, "Q N"], before: RaggedState
) -> tuple[Float[Tensor, "Q N D"], RaggedState]:
    """The same for rows with equal counts of tokens."""
    columns = before.columns + x.shape[1]
    if not bool(real.any()):
        return torch.zeros_like(x), dataclasses.replace(before, columns=columns)
    no_padding = bool(real.all())
    pieces = x if no_padding else x[real].unflatten(0, (len(x), -1))
    routed, state = router.stream(pieces, _unpacked(before, router.config.chunk))
    packed = _packed(state, columns, before.seen + pieces.shape[1], router.config.chunk)
    if no_padding:
        return routed, packed
    return routed.new_zeros(*x.shape[:2], routed.shape[2]).masked_scatter(real[..., None], routed), packed


def _packed(state: RouterState, columns: Tensor, seen: Tensor, chunk: int) -> RaggedState:
    free = chunk - 1 - state.open_k.shape[1]
    return RaggedState(
        columns=columns,
        seen=seen,
        peak=state.summary.peak,
        total=state.summary.total,
        weighted=state.summary.weighted,
        claim=state.claim,
        selected_k=state.selected_k,
        selected_v=state.selected_v,
        recent=state.recent,
        open_k=F.pad(state.open_k, (0, 0, 0, 0, 0, free)),
        open_v=F.pad(state.open_v, (0, 0, 0, 0, 0, free)),
        open_score=F.pad(state.open_score, (0, free)),
    )


def _unpacked(state: RaggedState, chunk: int) -> RouterState:
    """The state of rows with equally many tokens."""
    position = int(state.seen[0])
    filled = position % chunk
    return RouterState(
        position=position,
        summary=Summary(state.peak, state.total, state.weighted),
        claim=state.claim,
        selected_k=state.selected_k,
        selected_v=state.selected_v,
        recent=state.recent,
        open_k=state.open_k[:, :filled],
        open_v=state.open_v[:, :filled],
        open_score=state.open_score[:, :filled],
        open_valid=torch.ones(len(state.seen), filled, dtype=torch.bool, device=state.seen.device),
    )
