"""A decode step in one kernel: scores, council and read-out of the newest tokens, all of them in the open chunk."""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.council import absorb, gated_values, logits_of
from hubrouter.kernels.states import normalised
from hubrouter.kernels.tiles import (
    LOW,
    dot,
    fingerprints,
    gate_of,
    load_gates,
    load_halves,
    load_rotated,
    load_rows,
    store_rows,
)


@triton.jit(do_not_specialize=["OPENED", "S", "L"])
@no_type_check
def attend_step(
    QKV, WEIGHTED, TOTAL, BETA, WEIGHT, BIAS, OPEN_K, OPEN_V, OPEN_SCORE, PICKED_K, PICKED_V, CLAIM, COS, SIN,
    NEXT_K, NEXT_V, NEXT_SCORE, NEXT_VALID, MIXED, OPENED, S, L,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, K: tl.constexpr, EP: tl.constexpr, HP: tl.constexpr,
    MP: tl.constexpr, CP: tl.constexpr, LP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    OWN: tl.constexpr, READOUT: tl.constexpr, HAS_BETA: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """L tokens after the S of the open chunk, in one head; a program for each row and head.

    Keys of the open chunk are unrotated and its values ungated, those of the selected tokens rotated and gated; the
    chunk starts at position `OPENED`. `NEXT_…` get the open chunk with the new tokens. A score needs all heads: each
    program computes it.
    """
    b, h = tl.program_id(0).to(tl.int64) // H, tl.program_id(0) % H
    exact = COS.dtype.element_ty
    half: tl.constexpr = E // 2
    m, e, i, j = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, LP)
    column, is_open, is_new, row = tl.arange(0, HP), i < S, j < L, 3 * H * E
    new, gates = QKV + b * L * row, load_gates(BETA, m, M, HAS_BETA)

    score, readout = tl.zeros([LP], exact) + tl.load(BIAS).to(exact), tl.zeros([LP, EP], exact)
    for head in range(H):
        place = (b * H + head) * M
        total = tl.load(TOTAL + place + m, mask=m < M, other=1.0)
        average = load_rows(WEIGHTED + place * E, m, E, e, m < M, E) / total[:, None]
        hubs, _, _ = normalised(average, gates, E)
        q = load_rows(new + head * E, j, row, e, is_new, E)
        hubs = hubs.to(q.dtype)
        fingerprint = fingerprints(q, hubs, gates, SCALE, WIDEN)
        weight = tl.load(WEIGHT + head * M + m, mask=m < M, other=0.0).to(exact)
        score += tl.sum((fingerprint * M - 1.0) * weight[None, :], 1)
        if READOUT and head == h:
            readout = dot(fingerprint.to(hubs.dtype), hubs, WIDEN).to(exact)
    opened_score = tl.load(OPEN_SCORE + b * S + i, mask=is_open, other=0.0).to(exact)
    if h == 0:
        tl.store(NEXT_SCORE + b * (S + L) + i, opened_score, mask=is_open)
        tl.store(NEXT_SCORE + b * (S + L) + S + j, score, mask=is_new)
        tl.store(NEXT_VALID + b * (S + L) + i, 1, mask=i < S + L)

    new += h * E
    old, following = (b * S * H + h) * E, (b * (S + L) * H + h) * E
    store_rows(NEXT_K + following, i, H * E, e, is_open, load_rows(OPEN_K + old, i, H * E, e, is_open, E), E)
    store_rows(NEXT_V + following, i, H * E, e, is_open, load_rows(OPEN_V + old, i, H * E, e, is_open, E), E)
    store_rows(NEXT_K + following, S + j, H * E, e, is_new, load_rows(new + H * E, j, row, e, is_new, E), E)
    store_rows(NEXT_V + following, S + j, H * E, e, is_new, load_rows(new + 2 * H * E, j, row, e, is_new, E), E)

    cos, sin = COS + OPENED * half, SIN + OPENED * half
    q1, q2 = load_rotated(new - S * row, S + j, row, column, is_new, cos, sin, half)
    top, total, mixed = tl.full([LP], LOW, exact), tl.zeros([LP], exact), tl.zeros([LP, EP], exact)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        claim = tl.load(CLAIM + b * K + slot, mask=slot < K, other=float("-inf"))
        filled = claim != float("-inf")
        k1, k2 = load_halves(PICKED_K + (b * K * H + h) * E, slot, H * E, column, filled, half)
        picked = load_rows(PICKED_V + (b * K * H + h) * E, slot, H * E, e, filled, E)
        seen = is_new[:, None] & filled[None, :]
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, picked, top, total, mixed, WIDEN)
    if OWN:
        k1, k2 = load_rotated(OPEN_K + old, i, H * E, column, is_open, cos, sin, half)
        gated = gated_values(load_rows(OPEN_V + old, i, H * E, e, is_open, E), gate_of(opened_score))
        seen = is_new[:, None] & is_open[None, :]
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)
        k1, k2 = load_rotated(new + H * E - S * row, S + j, row, column, is_new, cos, sin, half)
        gated = gated_values(load_rows(new + 2 * H * E, j, row, e, is_new, E), gate_of(score))
        seen = is_new[None, :] & (j[None, :] <= j[:, None])
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)
    mixed = mixed / tl.where(total > 0.0, total, 1.0)[:, None] + readout
    store_rows(MIXED + (b * L * H + h) * E, j, H * E, e, is_new, mixed.to(MIXED.dtype.element_ty), E)
