"""Streaming with kernels: a prefix at once through `route`, then a fused step for tokens that stay in the open chunk.

The token that completes a chunk closes it with operations of the reference: once every C tokens, on C tokens. Streams
have no gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hubrouter.decode import normalised
from hubrouter.encode import Summary
from hubrouter.kernels.fingerprints import score_tokens
from hubrouter.kernels.layer import between
from hubrouter.kernels.plan import Plan
from hubrouter.kernels.route import DECODE, plan_of
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
    while x.shape[1]:
        fits = layer.config.chunk - state.open_k.shape[1]
        output, state = _step(layer, x[:, :fits], state)
        outputs.append(output)
        x = x[:, fits:]
    return torch.cat(outputs, dim=1), state


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
            routed.peak[:, last].view(*heads, -1),
            routed.total[:, last].view(*heads, -1),
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
    """Tokens [B, L, D] that the open chunk has room for."""
    config, qkv, beta = layer.config, _cut(layer, layer.project(x)), layer.log_gate
    settings = (config.slots, config.chunk, config.neighbours, config.rope_base, config.causal)
    plan = plan_of(qkv, layer.encode.hubs, None, *settings, config.reads_chunk, config.readout, beta)
    average = state.summary.weighted / state.summary.total[..., None]
    hubs = normalised(average, None if beta is None else beta > float("-inf")).to(qkv.dtype).contiguous()
    gates = hubs if beta is None else beta.to(plan.exact)
    score = _scores(plan, layer, qkv, hubs, gates)
    state = state.with_open(
        torch.cat([state.open_k, qkv[:, :, 1]], dim=1),
        torch.cat([state.open_v, qkv[:, :, 2]], dim=1),
        torch.cat([state.open_score, score], dim=1),
        torch.cat([state.open_valid, state.open_valid.new_ones(score.shape)], dim=1),
    )
    mixed = torch.empty_like(qkv[:, :, 0], memory_format=torch.contiguous_format)
    cos, sin = (part[state.opened :] for part in plan.rotary(qkv, state.opened + config.chunk))
    attend_step[(plan.batch * plan.heads,)](
        qkv, state.open_k, state.open_v, state.open_score, state.selected_k, state.selected_v, state.claim, hubs,
        gates, cos, sin, mixed, x.shape[1], state.open_k.shape[1],
        **plan.sizes(*STEP),
    )  # fmt: skip
    output: Tensor = layer.output(mixed.flatten(2))
    return output, _closed_if_full(layer, state)


def _scores(plan: Plan, layer: HubRouter, qkv: Tensor, hubs: Tensor, gates: Tensor) -> Tensor:
    """Scores of the new tokens [B, L] against the normalised hubs before the open chunk."""
    score, head = plan.empty(qkv, plan.batch, plan.length), layer.score.head
    score_tokens[(plan.batch,)](
        qkv, hubs, gates, head.weight, head.bias, qkv, qkv, score, qkv, plan.length, 1, ROTATE=False,
        **plan.sizes(*DECODE, "HP"),
    )  # fmt: skip
    return score


def _closed_if_full(layer: HubRouter, state: RouterState) -> RouterState:
    return layer.close(state) if state.open_k.shape[1] == layer.config.chunk else state


def _cut(layer: HubRouter, projected: Tensor) -> Tensor:
    """Queries, keys and values [B, N, 3, H, E]."""
    qkv: Tensor = projected.unflatten(-1, (3, layer.config.n_heads, layer.config.head_width))
    return qkv
