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
from hubrouter.kernels.fingerprints import score_tokens
from hubrouter.kernels.plan import Plan
from hubrouter.kernels.route import plan_of, route
from hubrouter.kernels.step import attend_step
from hubrouter.kernels.tiles import LAST
from hubrouter.rotary import rotate, rotation
from hubrouter.select import GRID, NO_CLAIM
from hubrouter.state import RouterState

if TYPE_CHECKING:
    from hubrouter.router import HubRouter


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
    config, qkv = layer.config, _projected(layer, x)
    head, settings = layer.score.head, (config.k, config.chunk, config.neighbours, config.rope_base, config.causal)
    mixed, score, _, peak, total, chosen, _, _, weighted = route(
        qkv, layer.encode.hubs, head.weight, head.bias, None, *settings
    )
    batch, last = len(x), chosen.shape[1] - 1
    begun, heads = last * config.chunk, (batch, 1, config.n_heads)
    key = chosen[:, -1]
    claim = (key >> 32).to(score.dtype) / GRID
    token = torch.where((key >> 32) > -(1 << 31), LAST.value - (key & LAST.value), 0)
    k, v = (part[torch.arange(batch, device=x.device)[:, None], token] for part in (qkv[:, :, 1], qkv[:, :, 2]))
    gate = layer.score.gate(score.gather(1, token)).to(v.dtype)
    recent = layer.start(x).recent
    recent = torch.cat([recent, (score[:, :begun] * GRID).round() / GRID], dim=1)
    state = replace(
        layer.start(x),
        position=x.shape[1],
        summary=Summary(
            peak[:, last].view(*heads, -1), total[:, last].view(*heads, -1), weighted.view(*heads, config.n_hubs, -1)
        ),
        claim=torch.where((key >> 32) > -(1 << 31), claim, NO_CLAIM),
        selected_k=_rotated(layer, k, token),
        selected_v=v * gate[..., None, None],
        recent=recent[:, recent.shape[1] - config.neighbours :].clone(),
        open_k=qkv[:, begun:, 1].clone(),
        open_v=qkv[:, begun:, 2].clone(),
        open_score=score[:, begun:].clone(),
        open_valid=torch.ones(batch, x.shape[1] - begun, dtype=torch.bool, device=x.device),
    )
    output: Tensor = layer.output(mixed.flatten(2))
    return output, _closed_if_full(layer, state)


def _step(layer: HubRouter, x: Tensor, state: RouterState) -> tuple[Tensor, RouterState]:
    """Tokens [B, L, D] that the open chunk has room for."""
    config, qkv, hubs = layer.config, _projected(layer, x), state.summary
    settings = (config.k, config.chunk, config.neighbours, config.rope_base, config.causal)
    plan = plan_of(qkv, layer.encode.hubs, None, *settings)
    average = (hubs.weighted / hubs.total[..., None]).to(qkv.dtype).contiguous()
    score = _scores(plan, layer, qkv, average)
    state = state.with_open(
        torch.cat([state.open_k, qkv[:, :, 1]], dim=1),
        torch.cat([state.open_v, qkv[:, :, 2]], dim=1),
        torch.cat([state.open_score, score], dim=1),
        torch.cat([state.open_valid, state.open_valid.new_ones(score.shape)], dim=1),
    )
    mixed = torch.empty_like(qkv[:, :, 0], memory_format=torch.contiguous_format)
    cos, sin = (part[state.opened :] for part in plan.rotary(qkv, state.opened + config.chunk))
    attend_step[(plan.batch * plan.heads,)](
        qkv, state.open_k, state.open_v, state.open_score, state.selected_k, state.selected_v, state.claim, average,
        cos, sin, mixed, x.shape[1], state.open_k.shape[1],
        **plan.sizes("H", "E", "M", "K", "EP", "HP", "MP", "CP", "TILE", "SCALE", "WIDEN"),
    )  # fmt: skip
    output: Tensor = layer.output(mixed.flatten(2))
    return output, _closed_if_full(layer, state)


def _scores(plan: Plan, layer: HubRouter, qkv: Tensor, average: Tensor) -> Tensor:
    """Scores of the new tokens [B, L] against the hubs before the open chunk."""
    score, head = plan.empty(qkv, plan.batch, plan.length), layer.score.head
    score_tokens[(plan.batch,)](
        qkv, average, head.weight, head.bias, qkv, qkv, score, qkv, plan.length, 1, ROTATE=False,
        **plan.sizes("H", "E", "M", "C", "EP", "HP", "MP", "CP", "SCALE", "WIDEN"),
    )  # fmt: skip
    return score


def _closed_if_full(layer: HubRouter, state: RouterState) -> RouterState:
    return layer.close(state) if state.open_k.shape[1] == layer.config.chunk else state


def _projected(layer: HubRouter, x: Tensor) -> Tensor:
    """Queries, keys and values [B, N, 3, H, E]."""
    projected: Tensor = layer.project(x).view(*x.shape[:2], 3, layer.config.n_heads, layer.config.head_width)
    return projected


def _rotated(layer: HubRouter, k: Tensor, position: Tensor) -> Tensor:
    """Keys [B, T, H, E] at their positions, rotated."""
    return rotate(k, rotation(position, layer.config.head_width, layer.config.rope_base, k.dtype))
