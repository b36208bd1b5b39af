"""Decode and score: fingerprints of the tokens of a chunk against the hubs before it, scores, and gradients."""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import (
    add_rows,
    are_real,
    dot,
    dot_statistic,
    gate_of,
    load_rotated,
    load_rows,
    place_of,
    softmax_over_hubs,
    store_rows,
)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def score_tokens(
    QKV, STATE, WEIGHT, BIAS, COS, SIN, SCORE, KEYS, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    ROTATE: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One scalar per token of the chunk, from its fingerprints in all heads; and its rotated keys, if `ROTATE`."""
    chunk, b, _ = place_of(tl.program_id(0), G, 1)
    half: tl.constexpr = E // 2
    column = tl.arange(0, HP)
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    score = tl.zeros([CP], SCORE.dtype.element_ty) + tl.load(BIAS).to(SCORE.dtype.element_ty)
    for h in range(H):
        q = load_rows(QKV + b * N * 3 * H * E + h * E, position, 3 * H * E, e, in_chunk, E)
        state = load_rows(STATE + ((b * H + h) * G + chunk) * M * E, m, E, e, m < M, E)
        fingerprint = softmax_over_hubs(dot(q, tl.trans(state), WIDEN) * SCALE, M, MP)
        weight = tl.load(WEIGHT + h * M + m, mask=m < M, other=0.0).to(fingerprint.dtype)
        score += tl.sum((fingerprint * M - 1.0) * weight[None, :], 1)
        if ROTATE:
            key = QKV + b * N * 3 * H * E + (H + h) * E
            k1, k2 = load_rotated(key, position, 3 * H * E, column, in_chunk, COS, SIN, half)
            store_rows(KEYS + b * N * H * E + h * E, position, H * E, column, in_chunk, k1, half)
            store_rows(KEYS + b * N * H * E + h * E + half, position, H * E, column, in_chunk, k2, half)
    tl.store(SCORE + b * N + position, score, mask=in_chunk)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def decode_backward(
    QKV, VALID, STATE, WEIGHT, SCORE, D_MIXED, D_GATE, D_QKV, D_STATE, D_SCORE, D_WEIGHT, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Through gate, score, fingerprint and read-out: adds to the gradient of q, gates that of v, computes the hubs'.

    `D_GATE` [B, H, N] has each head's part of the gates' gradients; a score sums those of all heads.
    """
    chunk, b, h = place_of(tl.program_id(0), G, H)
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    score = tl.load(SCORE + b * N + position, mask=in_chunk, other=0.0)
    d_score = tl.zeros([CP], score.dtype)
    for head in range(H):
        d_score += tl.load(D_GATE + (b * H + head) * N + position, mask=in_chunk, other=0.0)
    gate = gate_of(score)
    d_score = d_score * gate * (1.0 - gate)
    if h == 0:
        tl.store(D_SCORE + b * N + position, d_score, mask=in_chunk)

    here = b * N * 3 * H * E + h * E
    read = are_real(VALID + b * N, position, in_chunk, HAS_VALID)  # the output at padding is zero, so is its gradient
    q = load_rows(QKV + here, position, 3 * H * E, e, in_chunk, E)
    d_out = load_rows(D_MIXED + b * N * H * E + h * E, position, H * E, e, read, E)
    place = ((b * H + h) * G + chunk) * M * E
    state = load_rows(STATE + place, m, E, e, m < M, E)
    weight = tl.load(WEIGHT + h * M + m, mask=m < M, other=0.0).to(score.dtype)
    fingerprint = softmax_over_hubs(dot(q, tl.trans(state), WIDEN) * SCALE, M, MP)
    d_fingerprint = dot(d_out, tl.trans(state), WIDEN) + d_score[:, None] * (M * weight)[None, :]
    d_logits = fingerprint * (d_fingerprint - tl.sum(fingerprint * d_fingerprint, 1)[:, None]) * SCALE
    d_state = dot_statistic(tl.trans(d_logits), q, WIDEN) + dot(tl.trans(fingerprint).to(q.dtype), d_out, WIDEN)
    store_rows(D_STATE + place, m, E, e, m < M, d_state, E)
    d_weight = tl.sum(tl.where(in_chunk[:, None], d_score[:, None] * (fingerprint * M - 1.0), 0.0), 0)
    tl.store(D_WEIGHT + (b * G + chunk) * H * M + h * M + m, d_weight, mask=m < M)

    add_rows(D_QKV + here, position, 3 * H * E, e, in_chunk, dot_statistic(d_logits, state, WIDEN), E)
    d_v = load_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, in_chunk, E)
    d_v = (d_v.to(gate.dtype) * gate[:, None]).to(d_v.dtype)
    store_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, in_chunk, d_v, E)
