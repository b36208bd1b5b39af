"""A decode step: the council and read-out of the newest tokens, all of them in the open chunk."""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.council import absorb, gated_values, logits_of
from hubrouter.kernels.tiles import LOW, dot, fingerprints, gate_of, load_gates, load_rotated, load_rows, store_rows


@triton.jit
@no_type_check
def attend_step(
    QKV, OPEN_K, OPEN_V, SCORE, PICKED_K, PICKED_V, CLAIM, STATE, BETA, COS, SIN, MIXED, L, S,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    OWN: tl.constexpr, READOUT: tl.constexpr, HAS_BETA: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """The last L of the S tokens of the open chunk, in one head; a program for each row and head.

    Keys of the open chunk are unrotated and its values ungated, those of the selected tokens rotated and gated. `COS`
    and `SIN` begin at the chunk's first position.
    """
    b, h = tl.program_id(0).to(tl.int64) // H, tl.program_id(0) % H
    exact = COS.dtype.element_ty
    half: tl.constexpr = E // 2
    m, e, i, column = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
    query = S - L + i  # its position in the chunk
    is_new = i < L
    tokens = QKV + (b * L - (S - L)) * 3 * H * E + h * E  # rows are counted from the start of the chunk
    q1, q2 = load_rotated(tokens, query, 3 * H * E, column, is_new, COS, SIN, half)
    top, total, mixed = tl.full([CP], LOW, exact), tl.zeros([CP], exact), tl.zeros([CP, EP], exact)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        claim = tl.load(CLAIM + b * K + slot, mask=slot < K, other=float("-inf"))
        filled = claim != float("-inf")
        k1 = load_rows(PICKED_K + (b * K * H + h) * E, slot, H * E, column, filled, half)
        k2 = load_rows(PICKED_K + (b * K * H + h) * E + half, slot, H * E, column, filled, half)
        v = load_rows(PICKED_V + (b * K * H + h) * E, slot, H * E, e, filled, E)
        seen = is_new[:, None] & filled[None, :]
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, v, top, total, mixed, WIDEN)
    if OWN:
        is_open = i < S
        k1, k2 = load_rotated(OPEN_K + (b * S * H + h) * E, i, H * E, column, is_open, COS, SIN, half)
        v = load_rows(OPEN_V + (b * S * H + h) * E, i, H * E, e, is_open, E)
        v = gated_values(v, gate_of(tl.load(SCORE + b * S + i, mask=is_open, other=0.0).to(exact)))
        seen = is_new[:, None] & is_open[None, :] & (i[None, :] <= query[:, None])
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, v, top, total, mixed, WIDEN)
    mixed = mixed / tl.where(total > 0.0, total, 1.0)[:, None]
    if READOUT:
        q = load_rows(tokens, query, 3 * H * E, e, is_new, E)
        state = load_rows(STATE + (b * H + h) * M * E, m, E, e, m < M, E)
        fingerprint = fingerprints(q, state, load_gates(BETA, m, M, HAS_BETA), SCALE, WIDEN)
        mixed += dot(fingerprint.to(state.dtype), state, WIDEN)
    store_rows(MIXED + b * L * H * E + h * E, i, H * E, e, is_new, mixed.to(MIXED.dtype.element_ty), E)
