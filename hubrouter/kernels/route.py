"""The operator `hubrouter::route`: everything of the layer between its two projections, forward and backward.

Registered with torch, so that `torch.compile` treats it as one operator and shapes can be inferred. What the backward
pass needs are further outputs of the forward pass: O(N) numbers, no N by N and no gathered tensor among them.
"""

from typing import Any

import torch
from torch import Tensor

from hubrouter.kernels.council import add_partial_sums, attend, attend_backward, collect_selected
from hubrouter.kernels.fingerprints import decode_backward, score_tokens
from hubrouter.kernels.plan import SMALLEST, Plan, padded
from hubrouter.kernels.runnable import interpreted
from hubrouter.kernels.selection import carry_selection, select_in_blocks, select_in_segments
from hubrouter.kernels.states import (
    carry_states,
    encode_backward,
    sum_blocks,
    sum_blocks_backward,
    sum_segments_backward,
    summarise_segments,
)
from hubrouter.kernels.tiles import LAST
from hubrouter.select import GRID

Outputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
DECODE = ("H", "E", "M", "C", "EP", "MP", "CP", "SCALE", "HAS_BETA", "WIDEN")
COUNCIL = (*DECODE, "K", "HP", "TILE", "OWN", "READOUT", "HAS_VALID")
SCAN = ("H", "E", "M", "SPAN", "EP", "MP")


def plan_of(
    qkv: Tensor,
    hubs: Tensor,
    valid: Tensor | None,
    k: int,
    chunk: int,
    neighbours: int,
    rope_base: float,
    causal: bool,
    own: bool = True,
    readout: bool = True,
    beta: Tensor | None = None,
) -> Plan:
    """The launch for these tensors."""
    batch, length, _, heads, width = qkv.shape
    widen = interpreted() and qkv.dtype != torch.float64
    shape, real = (batch, length, heads, width, hubs.shape[1]), valid is not None
    switched = (own and causal, readout, beta is not None)
    return Plan(*shape, k, chunk, neighbours, rope_base, causal, real, qkv.dtype, widen, *switched)


@torch.library.custom_op("hubrouter::route", mutates_args=())
def route(
    qkv: Tensor,
    hubs: Tensor,
    weight: Tensor,
    bias: Tensor,
    valid: Tensor | None,
    k: int,
    chunk: int,
    neighbours: int,
    rope_base: float,
    causal: bool,
    own: bool = True,
    readout: bool = True,
    beta: Tensor | None = None,
    ranking: Tensor | None = None,
) -> Outputs:
    """Read-out plus council of every token, [B, N, H, E], and what the backward pass needs.

    Args:
        qkv: the projection, [B, N, 3, H, E].
        hubs: hub tokens [H, M, E].
        weight: the score head's, [1, H·M].
        bias: its bias, [1].
        valid: True where a token is real, [B, N]; None where all are.
        k: selected tokens K; with 0, nothing is selected.
        chunk: chunk size C.
        neighbours: successors that share a claim.
        rope_base: wavelength base of the rotary embedding.
        causal: hubs, scores and council depend on earlier tokens only; False is the layer as published.
        own: the council of the causal layer reads the own chunk.
        readout: tokens read the hubs.
        beta: logarithms of the hubs' gates, [M], -inf for closed ones; None where hubs have no gates.
        ranking: what ranks the tokens instead of their scores, by position, [N].

    Returns:
        mixed [B, N, H, E]; scores [B, N]; the hub states that every chunk reads, normalised [B·H, G, M, E]; peaks and
        totals of the prefixes before every chunk; keys of the selected tokens [B, G, K]; the logsumexp of the council's
        softmax [B, H, N]; tokens' rotated keys [B, N, H, E]; what was subtracted from hub states and what they were
        divided by, [B·H, G, E] and [B·H, G]; and, for streaming, the hubs' weighted sums before the last chunk
        [B·H, M, E].
    """
    with torch.cuda.device_of(qkv):
        plan = plan_of(qkv, hubs, valid, k, chunk, neighbours, rope_base, causal, own, readout, beta)
        return _route(plan, qkv, hubs, weight, bias, valid, beta, ranking)


def _route(
    plan: Plan,
    qkv: Tensor,
    hubs: Tensor,
    weight: Tensor,
    bias: Tensor,
    valid: Tensor | None,
    beta: Tensor | None,
    ranking: Tensor | None,
) -> Outputs:
    qkv, mask, (cos, sin) = qkv.contiguous(), _mask(valid, qkv), plan.rotary(qkv)
    gates = hubs if beta is None else beta.to(plan.exact)
    rows = plan.batch * plan.heads
    g, n, counts = plan.chunks, plan.length, (plan.chunks, plan.segments, plan.sums)
    peak = plan.empty(qkv, rows, plan.sums, plan.hubs)
    total, weighted = torch.empty_like(peak), plan.empty(qkv, rows, plan.sums, plan.hubs, plan.width)
    state = plan.empty(qkv, rows, g, plan.hubs, plan.width, dtype=qkv.dtype)
    summarise_segments[plan.by_segment](
        qkv, hubs, mask, peak, total, weighted, n, *counts,
        **plan.sizes("H", "E", "M", "C", "SPAN", "EP", "MP", "CP", "SCALE", "HAS_VALID", "WIDEN"),
    )  # fmt: skip
    if plan.blocks > 1:
        sum_blocks[plan.by_block](peak, total, weighted, *counts, **plan.sizes(*SCAN))
    last = plan.empty(qkv, rows, plan.hubs, plan.width)
    mean, spread = plan.empty(qkv, rows, g, plan.width), plan.empty(qkv, rows, g)
    carry_states[plan.by_segment](
        hubs, gates, peak, total, weighted, state, mean, spread, last, *counts, **plan.sizes(*SCAN, "HAS_BETA")
    )
    if not plan.causal:
        for part in (state, mean, spread):
            part[:, :-1] = part[:, -1:]
    score, keys = plan.empty(qkv, plan.batch, n), torch.empty_like(qkv[:, :, 0])
    score_tokens[(g * plan.batch,)](
        qkv, state, gates, weight, bias, cos, sin, score, keys, n, g, **plan.sizes(*DECODE, "HP")
    )
    chosen = select_tokens(plan, score if ranking is None else ranking.expand_as(score).contiguous(), mask)
    mixed, logsum = torch.empty_like(qkv[:, :, 0]), plan.empty(qkv, plan.batch, plan.heads, n)
    attend[plan.by_chunk](
        qkv, keys, mask, state, gates, score, chosen, cos, sin, mixed, logsum, n, g, **plan.sizes(*COUNCIL)
    )
    return mixed, score, state, peak, total, chosen, logsum, keys, mean, spread, last


def _mask(valid: Tensor | None, like: Tensor) -> Tensor:
    """The mask as bytes; without one any tensor, because it is not read."""
    return like if valid is None else valid.contiguous().view(torch.uint8)


def select_tokens(plan: Plan, score: Tensor, mask: Tensor) -> Tensor:
    """Keys of the tokens selected for every chunk by their scores, [B, G, K]: of those before it, or of all."""
    counts, by_segment = (plan.chunks, plan.segments, plan.sums), (plan.segments * plan.batch,)
    chosen = plan.empty(score, plan.batch, plan.chunks, plan.k, dtype=torch.int64)
    if not plan.k:
        return chosen
    keys = plan.empty(score, plan.batch, plan.sums, plan.wide, dtype=torch.int64)
    select_in_segments[by_segment](
        score, mask, keys, plan.length, *counts, NEIGHBOURS=plan.neighbours, GRID=GRID,
        **plan.lists("C", "SPAN", "WIDE", "HAS_VALID"),
    )  # fmt: skip
    if plan.blocks > 1:
        select_in_blocks[((plan.blocks - 1) * plan.batch,)](keys, *counts, **plan.lists("SPAN", "WIDE"))
    carry_selection[by_segment](keys, chosen, *counts, **plan.lists("K", "SPAN", "WIDE"))
    return chosen if plan.causal else chosen[:, -1:].repeat(1, plan.chunks, 1)


@route.register_fake
def _(
    qkv: Tensor,
    hubs: Tensor,
    _weight: Tensor,
    _bias: Tensor,
    valid: Tensor | None,
    k: int,
    chunk: int,
    neighbours: int,
    rope_base: float,
    causal: bool,
    own: bool = True,
    readout: bool = True,
    beta: Tensor | None = None,
    _ranking: Tensor | None = None,
) -> Outputs:
    plan = plan_of(qkv, hubs, valid, k, chunk, neighbours, rope_base, causal, own, readout, beta)
    rows, g = plan.batch * plan.heads, plan.chunks
    peak = plan.empty(qkv, rows, plan.sums, plan.hubs)
    return (
        qkv.new_empty(plan.batch, plan.length, plan.heads, plan.width),
        plan.empty(qkv, plan.batch, plan.length),
        plan.empty(qkv, rows, g, plan.hubs, plan.width, dtype=qkv.dtype),
        peak,
        torch.empty_like(peak),
        plan.empty(qkv, plan.batch, g, k, dtype=torch.int64),
        plan.empty(qkv, plan.batch, plan.heads, plan.length),
        qkv.new_empty(plan.batch, plan.length, plan.heads, plan.width),
        plan.empty(qkv, rows, g, plan.width),
        plan.empty(qkv, rows, g),
        plan.empty(qkv, rows, plan.hubs, plan.width),
    )


@torch.library.custom_op("hubrouter::route_backward", mutates_args=())
def route_backward(
    d_mixed: Tensor,
    qkv: Tensor,
    hubs: Tensor,
    weight: Tensor,
    valid: Tensor | None,
    mixed: Tensor,
    score: Tensor,
    state: Tensor,
    peak: Tensor,
    total: Tensor,
    chosen: Tensor,
    logsum: Tensor,
    keys: Tensor,
    mean: Tensor,
    spread: Tensor,
    chunk: int,
    neighbours: int,
    rope_base: float,
    causal: bool,
    own: bool,
    readout: bool,
    beta: Tensor | None,
) -> Gradients:
    """Gradients of qkv, hubs, the score head's weight and bias, and of beta (of no elements where there is none)."""
    with torch.cuda.device_of(qkv):
        settings = (chosen.shape[-1], chunk, neighbours, rope_base, causal, own, readout, beta)
        kept = (mixed, score, state, peak, total, chosen, logsum, keys, mean, spread)
        return _route_backward(plan_of(qkv, hubs, valid, *settings), d_mixed, qkv, hubs, weight, valid, beta, *kept)


def _route_backward(
    plan: Plan,
    d_mixed: Tensor,
    qkv: Tensor,
    hubs: Tensor,
    weight: Tensor,
    valid: Tensor | None,
    beta: Tensor | None,
    mixed: Tensor,
    score: Tensor,
    state: Tensor,
    peak: Tensor,
    total: Tensor,
    chosen: Tensor,
    logsum: Tensor,
    keys: Tensor,
    mean: Tensor,
    spread: Tensor,
) -> Gradients:
    gates = hubs if beta is None else beta.to(plan.exact)
    qkv, d_mixed, mask = qkv.contiguous(), d_mixed.contiguous(), _mask(valid, qkv)
    n, g, s, batch, rows = plan.length, plan.chunks, plan.segments, plan.batch, plan.batch * plan.heads
    d_qkv = torch.empty_like(qkv)
    d_gate = plan.empty(qkv, batch, plan.heads, n)
    _council_backward(plan, qkv, keys, mask, state, gates, score, chosen, mixed, logsum, d_mixed, d_qkv, d_gate)

    d_average, d_product = plan.empty(qkv, *state.shape), plan.empty(qkv, *state.shape[:-1])
    d_beta = plan.empty(qkv, rows * g if plan.has_beta else 0, plan.hubs)
    d_score, d_weight = torch.empty_like(score), plan.empty(qkv, batch, g, plan.heads * plan.hubs)
    decode_backward[plan.by_chunk](
        qkv, mask, state, mean, spread, gates, weight, score, d_mixed, d_gate, d_qkv, d_average, d_product, d_score,
        d_weight, d_beta, n, g, **plan.sizes(*DECODE, "READOUT", "HAS_VALID"),
    )  # fmt: skip
    if not plan.causal:  # every chunk read the last state
        for part in (d_average, d_product):
            d_last = part.sum(1)
            part.zero_()[:, -1] = d_last
    d_total = plan.empty(qkv, rows, plan.sums - g, plan.hubs)
    d_weighted, counts = plan.empty(qkv, *d_total.shape, plan.width), (g, s, plan.sums)
    sum_segments_backward[plan.by_segment](
        peak, total, d_average, d_product, d_total, d_weighted, *counts, **plan.sizes(*SCAN)
    )
    if plan.blocks > 1:
        sum_blocks_backward[plan.by_block](peak, d_total, d_weighted, *counts, **plan.sizes(*SCAN))
    d_hubs = plan.empty(qkv, rows, s, plan.hubs, plan.width)
    encode_backward[plan.by_segment](
        qkv, hubs, mask, peak, total, d_average, d_product, d_total, d_weighted, d_qkv, d_hubs, n, *counts,
        **plan.sizes("H", "E", "M", "C", "SPAN", "EP", "MP", "CP", "SCALE", "HAS_VALID", "WIDEN"),
    )  # fmt: skip
    d_hubs = d_hubs.view(batch, plan.heads, s, plan.hubs, plan.width).sum((0, 2)).to(hubs.dtype)
    d_bias = d_score.sum().reshape(1).to(weight.dtype)
    d_beta = qkv.new_empty(0) if beta is None else d_beta.sum(0).to(beta.dtype)
    return d_qkv, d_hubs, d_weight.sum((0, 1)).to(weight.dtype).view_as(weight), d_bias, d_beta


def _council_backward(
    plan: Plan,
    qkv: Tensor,
    keys: Tensor,
    mask: Tensor,
    state: Tensor,
    gates: Tensor,
    score: Tensor,
    chosen: Tensor,
    mixed: Tensor,
    logsum: Tensor,
    d_mixed: Tensor,
    d_qkv: Tensor,
    d_gate: Tensor,
) -> None:
    """Write the council's part of the gradients to `d_qkv` and `d_gate`."""
    n, g, (cos, sin), cuts = plan.length, plan.chunks, plan.rotary(qkv), plan.cuts
    d_picked = plan.empty(qkv, plan.batch, plan.heads, 2, g, plan.k, plan.width, dtype=qkv.dtype)
    attend_backward[plan.by_chunk](
        qkv, keys, mask, state, gates, score, chosen, cos, sin, mixed, logsum, d_mixed, d_qkv, d_gate, d_picked, n, g,
        **plan.sizes(*COUNCIL) | {"num_warps": 8},
    )  # fmt: skip
    if not plan.k:
        return
    token, order, starts = by_token(chosen, plan.chunk)
    partial = plan.empty(qkv, plan.batch, plan.heads, 2, 2 * cuts, plan.chunk, plan.width)
    lists = 2 * plan.batch * plan.heads  # of keys and of values
    collect_selected[((g + cuts) * lists,)](
        qkv, token, order, starts, cos, sin, d_picked, d_qkv, d_gate, partial, n, g, cuts,
        **plan.sizes("H", "E", "C", "K", "HP", "CP", "TILE", "PIECE", "WIDEN"),
    )  # fmt: skip
    add_partial_sums[(cuts * lists * padded(plan.chunk) // SMALLEST,)](
        qkv, token, starts, cos, sin, d_qkv, d_gate, partial, n, g, cuts, ROWS=SMALLEST,
        **plan.sizes("H", "E", "C", "K", "HP", "CP", "PIECE"),
    )  # fmt: skip


def by_token(chosen: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Selected tokens in ascending order, their slots, [B, G·K] each, and the start of every chunk's, [B, G + 1].

    Empty slots come last.
    """
    token = LAST.value - chosen.view(torch.int32)[..., ::2].flatten(1)  # the lower half of a key
    token, order = token.sort(dim=1, stable=True)
    borders = torch.arange(0, chosen.shape[1] * chunk + 1, chunk, dtype=torch.int32, device=chosen.device)
    return token, order, torch.searchsorted(token, borders.expand(len(token), -1).contiguous())


@route_backward.register_fake
def _(_: Tensor, qkv: Tensor, hubs: Tensor, weight: Tensor, *others: Any) -> Gradients:
    beta = others[-1]
    return (
        torch.empty_like(qkv, memory_format=torch.contiguous_format),
        torch.empty_like(hubs),
        torch.empty_like(weight),
        weight.new_empty(1),
        qkv.new_empty(0) if beta is None else torch.empty_like(beta),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Outputs) -> None:
    qkv, hubs, weight, _, valid, _, *settings, beta, _ = inputs
    ctx.save_for_backward(beta, qkv, hubs, weight, valid, *output[:-1])
    ctx.settings = settings
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, d_mixed: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if d_mixed is None:
        return (None,) * 14
    beta, *kept = ctx.saved_tensors
    *gradients, d_beta = route_backward(d_mixed, *kept, *ctx.settings, beta)
    return *gradients, *(None,) * 8, None if beta is None else d_beta, None


route.register_autograd(_differentiate, setup_context=_keep)
