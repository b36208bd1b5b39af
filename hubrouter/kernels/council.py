"""Council: one softmax over the selected tokens and the own chunk, a program for each chunk and head.

The bidirectional layer reads only the selected tokens.

Queries of a chunk share their selection, so its keys and values are gathered once and read from registers by all of
them. Keys are rotated and values gated when they are loaded; no rotated, gated or gathered tensor is stored.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import (
    HIGH,
    LAST,
    LOW,
    add_rows,
    are_real,
    dot,
    gate_of,
    load_chosen,
    load_rotated,
    load_rows,
    rotate,
    softmax_over_hubs,
    store_rows,
)


@triton.jit
@no_type_check
def _load_values(base, position, stride, e, ok, SCORE, E: tl.constexpr):
    """Ungated values of tokens, and their gates."""
    v = load_rows(base, position, stride, e, ok, E)
    return v, gate_of(tl.load(SCORE + position, mask=ok, other=0.0))


@triton.jit
@no_type_check
def gated_values(v, gate):
    """Values times their gates."""
    return (v.to(gate.dtype) * gate[:, None]).to(v.dtype)


@triton.jit
@no_type_check
def logits_of(q1, q2, k1, k2, SCALE: tl.constexpr, WIDEN: tl.constexpr):
    """Scaled products of queries and keys, both as halves."""
    return (dot(q1, tl.trans(k1), WIDEN) + dot(q2, tl.trans(k2), WIDEN)) * SCALE


@triton.jit
@no_type_check
def absorb(logits, seen, v, top, total, mixed, WIDEN: tl.constexpr):
    """One more tile of the online softmax."""
    logits = tl.where(seen, logits, LOW)
    higher = tl.maximum(top, tl.max(logits, 1))
    weight = tl.where(seen, tl.exp(logits - higher[:, None]), 0.0)
    rescale = tl.exp(top - higher)
    mixed = mixed * rescale[:, None] + dot(weight.to(v.dtype), v, WIDEN)
    return higher, total * rescale + tl.sum(weight, 1), mixed


@triton.jit
@no_type_check
def attend(
    QKV, VALID, STATE, SCORE, CHOSEN, COS, SIN, MIXED, LOGSUM, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    CAUSAL: tl.constexpr, HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """The read-out of the hubs plus the council, for the queries of one chunk and head."""
    chunk, b, h = tl.program_id(0), tl.program_id(1).to(tl.int64) // H, tl.program_id(1) % H
    exact = LOGSUM.dtype.element_ty
    half: tl.constexpr = E // 2
    m, e, i, column = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
    row = 3 * H * E
    tokens = QKV + b * N * row + h * E
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    q1, q2 = load_rotated(tokens, position, row, column, in_chunk, COS, SIN, half)

    top, total, mixed = tl.full([CP], LOW, exact), tl.zeros([CP], exact), tl.zeros([CP, EP], exact)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        token, filled = load_chosen(CHOSEN + (b * G + chunk) * K, slot, K)
        k1, k2 = load_rotated(tokens + H * E, token, row, column, filled, COS, SIN, half)
        v, gate = _load_values(tokens + 2 * H * E, token, row, e, filled, SCORE + b * N, E)
        gated = gated_values(v, gate)
        seen = in_chunk[:, None] & filled[None, :]
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)
    real = are_real(VALID + b * N, position, in_chunk, HAS_VALID)
    if CAUSAL:
        k1, k2 = load_rotated(tokens + H * E, position, row, column, real, COS, SIN, half)
        v, gate = _load_values(tokens + 2 * H * E, position, row, e, real, SCORE + b * N, E)
        gated = gated_values(v, gate)
        seen = in_chunk[:, None] & real[None, :] & (i[None, :] <= i[:, None])
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)

    nonempty = total > 0.0
    logsum = tl.where(nonempty, top + tl.log(tl.where(nonempty, total, 1.0)), HIGH)
    tl.store(LOGSUM + (b * H + h) * N + position, logsum, mask=in_chunk)
    mixed = mixed / tl.where(nonempty, total, 1.0)[:, None]
    q = load_rows(tokens, position, row, e, in_chunk, E)
    state = load_rows(STATE + ((b * H + h) * G + chunk) * M * E, m, E, e, m < M, E)
    fingerprint = softmax_over_hubs(dot(q, tl.trans(state), WIDEN) * SCALE, M, MP)
    mixed += dot(fingerprint.to(state.dtype), state, WIDEN)
    mixed = tl.where(real[:, None], mixed, 0.0).to(MIXED.dtype.element_ty)
    store_rows(MIXED + b * N * H * E + h * E, position, H * E, e, in_chunk, mixed, E)


@triton.jit
@no_type_check
def _weights(logits, seen, logsum):
    """The softmax, recomputed from its logsumexp."""
    return tl.where(seen, tl.exp(tl.where(seen, logits, LOW) - logsum[:, None]), 0.0)


@triton.jit
@no_type_check
def _store_unrotated(base, position, stride, column, ok, first, second, COS, SIN, HALF: tl.constexpr):
    """Gradients of rotated halves, rotated back and stored."""
    cos = load_rows(COS, position, HALF, column, ok, HALF)
    sin = load_rows(SIN, position, HALF, column, ok, HALF)
    unrotated, other = rotate(first, second, cos, -sin)
    store_rows(base, position, stride, column, ok, unrotated.to(base.dtype.element_ty), HALF)
    store_rows(base + HALF, position, stride, column, ok, other.to(base.dtype.element_ty), HALF)


@triton.jit
@no_type_check
def attend_backward(
    QKV, VALID, SCORE, CHOSEN, COS, SIN, LOGSUM, D_MIXED, D_QKV, D_GATE, D_PICKED_K, D_PICKED_V, N, G,
    H: tl.constexpr, E: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    CAUSAL: tl.constexpr, HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Gradients of the chunk's q, k and gated v, and by slot of the selected tokens' rotated keys and gated values."""
    chunk, b, h = tl.program_id(0), tl.program_id(1).to(tl.int64) // H, tl.program_id(1) % H
    exact = LOGSUM.dtype.element_ty
    half: tl.constexpr = E // 2
    e, i, column = tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
    row = 3 * H * E
    tokens, d_tokens = QKV + b * N * row + h * E, D_QKV + b * N * row + h * E
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    real = are_real(VALID + b * N, position, in_chunk, HAS_VALID)
    q1, q2 = load_rotated(tokens, position, row, column, in_chunk, COS, SIN, half)
    logsum = tl.load(LOGSUM + (b * H + h) * N + position, mask=in_chunk, other=HIGH)
    d_out = load_rows(D_MIXED + b * N * H * E + h * E, position, H * E, e, real, E)
    own = in_chunk[:, None] & real[None, :] & (i[None, :] <= i[:, None]) & CAUSAL  # else only the selected tokens

    k1, k2 = load_rotated(tokens + H * E, position, row, column, real, COS, SIN, half)
    v, gate = _load_values(tokens + 2 * H * E, position, row, e, real, SCORE + b * N, E)
    gated = gated_values(v, gate)
    weight = _weights(logits_of(q1, q2, k1, k2, SCALE, WIDEN), own, logsum)
    delta = tl.sum(weight * dot(d_out, tl.trans(gated), WIDEN), 1)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        token, filled = load_chosen(CHOSEN + (b * G + chunk) * K, slot, K)
        p1, p2 = load_rotated(tokens + H * E, token, row, column, filled, COS, SIN, half)
        u, sigma = _load_values(tokens + 2 * H * E, token, row, e, filled, SCORE + b * N, E)
        chosen = _weights(logits_of(q1, q2, p1, p2, SCALE, WIDEN), in_chunk[:, None] & filled[None, :], logsum)
        delta += tl.sum(chosen * dot(d_out, tl.trans(gated_values(u, sigma)), WIDEN), 1)

    d_logits = (weight * (dot(d_out, tl.trans(gated), WIDEN) - delta[:, None]) * SCALE).to(q1.dtype)
    d_gated = dot(tl.trans(weight).to(d_out.dtype), d_out, WIDEN)
    store_rows(d_tokens + 2 * H * E, position, row, e, in_chunk, d_gated.to(D_QKV.dtype.element_ty), E)
    tl.store(D_GATE + (b * H + h) * N + position, tl.sum(d_gated * v.to(exact), 1), mask=in_chunk)
    d_k1, d_k2 = dot(tl.trans(d_logits), q1, WIDEN), dot(tl.trans(d_logits), q2, WIDEN)
    _store_unrotated(d_tokens + H * E, position, row, column, in_chunk, d_k1, d_k2, COS, SIN, half)
    d_q1, d_q2 = dot(d_logits, k1, WIDEN), dot(d_logits, k2, WIDEN)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        token, filled = load_chosen(CHOSEN + (b * G + chunk) * K, slot, K)
        p1, p2 = load_rotated(tokens + H * E, token, row, column, filled, COS, SIN, half)
        u, sigma = _load_values(tokens + 2 * H * E, token, row, e, filled, SCORE + b * N, E)
        chosen = _weights(logits_of(q1, q2, p1, p2, SCALE, WIDEN), in_chunk[:, None] & filled[None, :], logsum)
        d_chosen = dot(d_out, tl.trans(gated_values(u, sigma)), WIDEN)
        d_chosen = (chosen * (d_chosen - delta[:, None]) * SCALE).to(q1.dtype)
        picked = ((b * H + h) * G + chunk) * K * E
        store_rows(D_PICKED_V + picked, slot, E, e, slot < K, dot(tl.trans(chosen).to(d_out.dtype), d_out, WIDEN), E)
        store_rows(D_PICKED_K + picked, slot, E, column, slot < K, dot(tl.trans(d_chosen), q1, WIDEN), half)
        store_rows(D_PICKED_K + picked + half, slot, E, column, slot < K, dot(tl.trans(d_chosen), q2, WIDEN), half)
        d_q1 += dot(d_chosen, p1, WIDEN)
        d_q2 += dot(d_chosen, p2, WIDEN)
    _store_unrotated(d_tokens, position, row, column, in_chunk, d_q1, d_q2, COS, SIN, half)


@triton.jit
@no_type_check
def collect_selected(
    QKV, CHOSEN, ORDER, STARTS, COS, SIN, D_PICKED_K, D_PICKED_V, D_QKV, D_GATE, N, G,
    H: tl.constexpr, E: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Adds, for the tokens of one chunk, the gradients that later chunks which selected them stored by slot.

    `ORDER` lists slots by the chunk of their token, those of chunk g from `STARTS[g]` on: each sum is
    computed by one program in one order, so it is the same in every run.
    """
    chunk, b, h = tl.program_id(0), tl.program_id(1).to(tl.int64) // H, tl.program_id(1) % H
    begin, end = tl.load(STARTS + b * (G + 1) + chunk), tl.load(STARTS + b * (G + 1) + chunk + 1)
    if begin < end:
        e, i, column = tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
        half: tl.constexpr = E // 2
        row = 3 * H * E
        here = b * N * row + h * E
        exact = D_PICKED_V.dtype.element_ty
        d_v, d_k1, d_k2 = tl.zeros([CP, EP], exact), tl.zeros([CP, HP], exact), tl.zeros([CP, HP], exact)
        picked = (b * H + h) * G * K * E
        for first in range(begin, end, TILE):
            entry = first + tl.arange(0, TILE)
            slot = tl.load(ORDER + b * G * K + entry, mask=entry < end, other=0)
            key = tl.load(CHOSEN + b * G * K + slot)
            token = (-(key & LAST) + LAST).to(tl.int32) - chunk * C
            pick = ((i[:, None] == token[None, :]) & (entry < end)[None, :]).to(exact)
            d_v += dot(pick, load_rows(D_PICKED_V + picked, slot, E, e, entry < end, E), False)
            left = load_rows(D_PICKED_K + picked, slot, E, column, entry < end, half)
            d_k1 += dot(pick, left, False)
            right = load_rows(D_PICKED_K + picked + half, slot, E, column, entry < end, half)
            d_k2 += dot(pick, right, False)
        position = chunk * C + i
        in_chunk = (i < C) & (position < N)
        cos, sin = (
            load_rows(COS, position, half, column, in_chunk, half),
            load_rows(SIN, position, half, column, in_chunk, half),
        )
        d_k1, d_k2 = rotate(d_k1, d_k2, cos, -sin)
        add_rows(D_QKV + here + H * E, position, row, column, in_chunk, d_k1, half)
        add_rows(D_QKV + here + H * E + half, position, row, column, in_chunk, d_k2, half)
        add_rows(D_QKV + here + 2 * H * E, position, row, e, in_chunk, d_v, E)
        v = load_rows(QKV + here + 2 * H * E, position, row, e, in_chunk, E).to(exact)
        place = D_GATE + (b * H + h) * N + position
        tl.store(place, tl.load(place, mask=in_chunk, other=0.0) + tl.sum(d_v * v, 1), mask=in_chunk)
