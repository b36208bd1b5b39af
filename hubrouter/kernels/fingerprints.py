"""Decode and score: fingerprints of the tokens of a chunk against the hubs before it, scores, and gradients."""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import (
    LOW,
    add_rows,
    are_real,
    dot,
    dot_statistic,
    fingerprints,
    gate_of,
    load_gates,
    load_rotated,
    load_rows,
    place_of,
    store_rows,
)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def score_tokens(
    QKV, STATE, BETA, WEIGHT, BIAS, COS, SIN, SCORE, KEYS, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_BETA: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """One scalar per token of the chunk, from its fingerprints in all heads; and its rotated keys."""
    chunk, b, _ = place_of(tl.program_id(0), G, 1)
    half: tl.constexpr = E // 2
    column = tl.arange(0, HP)
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    gates = load_gates(BETA, m, M, HAS_BETA)
    score = tl.zeros([CP], SCORE.dtype.element_ty) + tl.load(BIAS).to(SCORE.dtype.element_ty)
    for h in range(H):
        q = load_rows(QKV + b * N * 3 * H * E + h * E, position, 3 * H * E, e, in_chunk, E)
        state = load_rows(STATE + ((b * H + h) * G + chunk) * M * E, m, E, e, m < M, E)
        fingerprint = fingerprints(q, state, gates, SCALE, WIDEN)
        weight = tl.load(WEIGHT + h * M + m, mask=m < M, other=0.0).to(fingerprint.dtype)
        score += tl.sum((fingerprint * M - 1.0) * weight[None, :], 1)
        key = QKV + b * N * 3 * H * E + (H + h) * E
        k1, k2 = load_rotated(key, position, 3 * H * E, column, in_chunk, COS, SIN, half)
        store_rows(KEYS + b * N * H * E + h * E, position, H * E, column, in_chunk, k1, half)
        store_rows(KEYS + b * N * H * E + h * E + half, position, H * E, column, in_chunk, k2, half)
    tl.store(SCORE + b * N + position, score, mask=in_chunk)


@triton.jit
@no_type_check
def _through_normalisation(d_state, state, spread, gates, E: tl.constexpr):
    """Gradients of averages from those of the normalised ones; the formula is in README.md."""
    is_open = (gates > LOW)[:, None]
    count = tl.sum(is_open.to(spread.dtype))
    alike = tl.sum(tl.sum(d_state * state, 1), 0) / (count * E)
    shared = tl.where(count > 1, tl.sum(d_state, 0) / count, 0.0)
    return tl.where(is_open, (d_state - shared[None, :] - state * alike) / spread, 0.0)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def decode_backward(
    QKV, VALID, STATE, MEAN, SPREAD, BETA, WEIGHT, SCORE, D_MIXED, D_GATE, D_QKV, D_AVERAGE, D_PRODUCT, D_SCORE,
    D_WEIGHT, D_BETA, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    READOUT: tl.constexpr, HAS_BETA: tl.constexpr, HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Through gate, score, fingerprint and read-out: adds to the gradient of q, gates that of v, computes the hubs'.

    `D_GATE` [B, H, N] has each head's part of the gates' gradients; a score sums those of all heads. `D_AVERAGE` gets
    the gradients of the hubs' averages before they are normalised, `D_PRODUCT` their products with these averages.
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
    place = (b * H + h) * G + chunk
    state = load_rows(STATE + place * M * E, m, E, e, m < M, E)
    gates = load_gates(BETA, m, M, HAS_BETA)
    weight = tl.load(WEIGHT + h * M + m, mask=m < M, other=0.0).to(score.dtype)
    fingerprint = fingerprints(q, state, gates, SCALE, WIDEN)
    d_fingerprint = d_score[:, None] * (M * weight)[None, :]
    if READOUT:
        d_out = load_rows(D_MIXED + b * N * H * E + h * E, position, H * E, e, read, E)
        d_fingerprint += dot(d_out, tl.trans(state), WIDEN)
    d_logits = fingerprint * (d_fingerprint - tl.sum(fingerprint * d_fingerprint, 1)[:, None])
    if HAS_BETA:
        tl.store(D_BETA + place * M + m, tl.sum(d_logits, 0), mask=m < M)
    d_logits *= SCALE
    d_state = dot_statistic(tl.trans(d_logits), q, WIDEN)
    if READOUT:
        d_state += dot(tl.trans(fingerprint).to(q.dtype), d_out, WIDEN)
    spread = tl.load(SPREAD + place)
    d_average = _through_normalisation(d_state, state.to(spread.dtype), spread, gates, E)
    store_rows(D_AVERAGE + place * M * E, m, E, e, m < M, d_average, E)
    mean = tl.load(MEAN + place * E + e, mask=e < E, other=0.0)
    product = tl.sum(d_average * (state.to(spread.dtype) * spread + mean[None, :]), 1)
    tl.store(D_PRODUCT + place * M + m, product, mask=m < M)
    d_weight = tl.sum(tl.where(in_chunk[:, None], d_score[:, None] * (fingerprint * M - 1.0), 0.0), 0)
    tl.store(D_WEIGHT + (b * G + chunk) * H * M + h * M + m, d_weight, mask=m < M)

    add_rows(D_QKV + here, position, 3 * H * E, e, in_chunk, dot_statistic(d_logits, state, WIDEN), E)
    d_v = load_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, in_chunk, E)
    d_v = (d_v.to(gate.dtype) * gate[:, None]).to(d_v.dtype)
    store_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, in_chunk, d_v, E)
