"""Streaming with kernels: a prefix at once through `route`, then a fused step for tokens that stay in the open chunk.

The token that completes a chunk closes it with operations of the reference: once every C tokens, on C tokens. Streams
have no gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hubrouter.encode import Summary
from hubrouter.kernels.layer import between
from hubrouter.kernels.plan import padded
from hubrouter.kernels.route import plan_of
from hubrouter.kernels.step import attend_step
from hubrouter.kernels.tiles import LAST
from hubrouter.select import GRID, NO_CLAIM
from hubrouter.state import RouterState

if TYPE_CHECKING:
    from hubrouter.router import HubRouter

STEP = ("H", "E", "M", "K", "EP", "HP", "MP", "CP", "TILE", "SCALE", "OWN", "READOUT", "HAS_BETA", "WIDEN")


@torch.no_grad()
def streamed(layer: HubRouter, x: Tensor, state: RouterState | None) -> tuple[Tensor, RouterState]:
    """The next N tokens [B, N, D] and the state after them."""
    if state is None:
        return _first_tokens(layer, x)
    outputs = []
    with torch.cuda.device_of(x):
        for piece in x.split(_lengths(x.shape[1], state.open_k.shape[1], layer.config.chunk), dim=1):
            output, state = _step(layer, piece, state)
            outputs.append(output)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), state


def _lengths(length: int, opened: int, chunk: int) -> list[int]:
    """Lengths of the pieces that one open chunk each has room for."""
    borders = [*range(chunk - opened, length, chunk), length]
    return [border - before for before, border in zip([0, *borders], borders, strict=False)]


def _first_tokens(layer: HubRouter, x: Tensor) -> tuple[Tensor, RouterState]:
    """The first tokens, and the state after them."""
    config, projected, start = layer.config, layer.project(x), layer.start(x)
    routed, v = between(layer, projected, None), _cut(layer, projected)[:, :, 2]
    batch, last = len(x), routed.chosen.shape[1] - 1
    begun, heads = last * config.chunk, (batch, 1, config.n_heads)
    key = routed.chosen[:, -1]
    filled = (key >> 32) > -(1 << 31)
    token = torch.where(filled, LAST.value - (key & LAST.value), 0)
    row = torch.arange(batch, device=x.device)[:, None]
    gate = layer.score.gate(routed.score.gather(1, token)).to(v.dtype)
    ranking = layer.select.ranking(routed.score, 0)
    recent = torch.cat([start.recent, (ranking[:, :begun] * GRID).round() / GRID], dim=1)
    state = replace(
        start,
        position=x.shape[1],
        summary=Summary(
            routed.peak[:, last].clone().view(*heads, -1),
            routed.total[:, last].clone().view(*heads, -1),
            routed.last_weighted.view(*heads, config.n_hubs, -1),
        ),
        claim=torch.where(filled, (key >> 32).to(start.claim.dtype) / GRID, NO_CLAIM),
        selected_k=routed.keys[row, token],
        selected_v=v[row, token] * gate[..., None, None],
        recent=recent[:, recent.shape[1] - config.neighbours :].clone(),
        open_k=_cut(layer, projected)[:, begun:, 1].clone(),
        open_v=v[:, begun:].clone(),
        open_score=routed.score[:, begun:].clone(),
        open_valid=torch.ones(batch, x.shape[1] - begun, dtype=torch.bool, device=x.device),
    )
    output: Tensor = layer.output(routed.mixed.flatten(2))
    return output, _closed_if_full(layer, state)


def _step(layer: HubRouter, x: Tensor, state: RouterState) -> tuple[Tensor, RouterState]:
    """Tokens [B, L, D] that the open chunk has room for: between the two projections, one kernel."""
    config, qkv, beta, head = layer.config, _cut(layer, layer.project(x)), layer.log_gate, layer.score.head
    settings = (config.slots, config.chunk, config.neighbours, config.rope_base, config.causal)
    plan = plan_of(qkv, layer.encode.hubs, None, *settings, config.reads_chunk, config.readout, beta)
    opened, state = state.open_k.shape[1], _contiguous(state)
    size = (plan.batch, opened + plan.length)
    k, v = (plan.empty(qkv, *size, plan.heads, plan.width, dtype=qkv.dtype) for _ in range(2))
    score, valid = plan.empty(qkv, *size), plan.empty(qkv, *size, dtype=torch.bool)
    mixed = plan.empty(qkv, plan.batch, plan.length, plan.heads * plan.width, dtype=qkv.dtype)
    gates = score if beta is None else beta.to(plan.exact)
    attend_step[(plan.batch * plan.heads,)](
        qkv, state.summary.weighted, state.summary.total, gates, head.weight, head.bias,
        state.open_k, state.open_v, state.open_score, state.selected_k, state.selected_v, state.claim,
        *plan.rotary(qkv, state.opened + config.chunk), k, v, score, valid.view(torch.uint8), mixed,
        state.opened, opened, plan.length, LP=padded(plan.length), **plan.sizes(*STEP) | {"num_warps": 8},
    )  # fmt: skip
    output: Tensor = layer.output(mixed)
    return output, _closed_if_full(layer, state.with_open(k, v, score, valid))


def _contiguous(state: RouterState) -> RouterState:
    """The same state as the kernel reads it; a copy of what is not laid out so, as before the first token."""
    names = ("claim", "selected_k", "selected_v", "open_k", "open_v", "open_score")
    parts = {name: getattr(state, name).contiguous() for name in names}
    return replace(state, summary=Summary._make(part.contiguous() for part in state.summary), **parts)


def _closed_if_full(layer: HubRouter, state: RouterState) -> RouterState:
    return layer.close(state) if state.open_k.shape[1] == layer.config.chunk else state


def _cut(layer: HubRouter, projected: Tensor) -> Tensor:
    """Queries, keys and values [B, N, 3, H, E]."""
    qkv: Tensor = projected.unflatten(-1, (3, layer.config.n_heads, layer.config.head_width))
    return qkv
