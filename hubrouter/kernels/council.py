"""Council: one softmax over the selected tokens and the own chunk, a program for each chunk and head.

`OWN` is whether queries read their own chunk: not in the bidirectional layer, nor with `council="selected"`.

Queries of a chunk share their selection, so its keys and values are gathered once and read from registers by all of
them. Keys are read as `score_tokens` rotated them, and values are gated when they are loaded; no gated or gathered
tensor is stored.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import (
    HIGH,
    LOW,
    add_rows,
    are_real,
    dot,
    dot_statistic,
    fingerprints,
    gate_of,
    load_chosen,
    load_gates,
    load_halves,
    load_rotated,
    load_rows,
    place_of,
    rotate,
    store_halves,
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
def _read_out(
    tokens, STATE, BETA, place, position, ok, e, H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, MP: tl.constexpr,
    SCALE: tl.constexpr, HAS_BETA: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Read-outs of the queries of a chunk, [C, E]."""
    m = tl.arange(0, MP)
    q = load_rows(tokens, position, 3 * H * E, e, ok, E)
    state = load_rows(STATE + place * M * E, m, E, e, m < M, E)
    fingerprint = fingerprints(q, state, load_gates(BETA, m, M, HAS_BETA), SCALE, WIDEN)
    return dot(fingerprint.to(state.dtype), state, WIDEN)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def attend(
    QKV, KEYS, VALID, STATE, BETA, SCORE, CHOSEN, COS, SIN, MIXED, LOGSUM, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    OWN: tl.constexpr, READOUT: tl.constexpr, HAS_BETA: tl.constexpr, HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """The read-out of the hubs plus the council, for the queries of one chunk and head."""
    chunk, b, h = place_of(tl.program_id(0), G, H)
    exact = LOGSUM.dtype.element_ty
    half: tl.constexpr = E // 2
    e, i, column = tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
    row = 3 * H * E
    tokens, keys = QKV + b * N * row + h * E, KEYS + b * N * H * E + h * E
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    q1, q2 = load_rotated(tokens, position, row, column, in_chunk, COS, SIN, half)

    top, total, mixed = tl.full([CP], LOW, exact), tl.zeros([CP], exact), tl.zeros([CP, EP], exact)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        token, filled = load_chosen(CHOSEN + (b * G + chunk) * K, slot, K)
        k1, k2 = load_halves(keys, token, H * E, column, filled, half)
        v, gate = _load_values(tokens + 2 * H * E, token, row, e, filled, SCORE + b * N, E)
        gated = gated_values(v, gate)
        seen = in_chunk[:, None] & filled[None, :]
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)
    real = are_real(VALID + b * N, position, in_chunk, HAS_VALID)
    if OWN:
        k1, k2 = load_halves(keys, position, H * E, column, real, half)
        v, gate = _load_values(tokens + 2 * H * E, position, row, e, real, SCORE + b * N, E)
        gated = gated_values(v, gate)
        seen = in_chunk[:, None] & real[None, :] & (i[None, :] <= i[:, None])
        top, total, mixed = absorb(logits_of(q1, q2, k1, k2, SCALE, WIDEN), seen, gated, top, total, mixed, WIDEN)

    nonempty = total > 0.0
    logsum = tl.where(nonempty, top + tl.log(tl.where(nonempty, total, 1.0)), HIGH)
    tl.store(LOGSUM + (b * H + h) * N + position, logsum, mask=in_chunk)
    mixed = mixed / tl.where(nonempty, total, 1.0)[:, None]
    if READOUT:
        place = (b * H + h) * G + chunk
        mixed += _read_out(tokens, STATE, BETA, place, position, in_chunk, e, H, E, M, MP, SCALE, HAS_BETA, WIDEN)
    mixed = tl.where(real[:, None], mixed, 0.0).to(MIXED.dtype.element_ty)
    store_rows(MIXED + b * N * H * E + h * E, position, H * E, e, in_chunk, mixed, E)


@triton.jit
@no_type_check
def _softmax_backward(q1, q2, k1, k2, gated, seen, logsum, d_out, delta, SCALE: tl.constexpr, WIDEN: tl.constexpr):
    """The softmax of a tile, recomputed from its logsumexp, and the gradient of the products of queries and keys."""
    logits = tl.where(seen, logits_of(q1, q2, k1, k2, SCALE, WIDEN), LOW)
    weight = tl.where(seen, tl.exp(logits - logsum[:, None]), 0.0)
    return weight, weight * (dot(d_out, tl.trans(gated), WIDEN) - delta[:, None]) * SCALE


@triton.jit
@no_type_check
def _unrotated(first, second, position, column, ok, COS, SIN, HALF: tl.constexpr):
    """Gradients of rotated halves, rotated back."""
    cos = load_rows(COS, position, HALF, column, ok, HALF)
    sin = load_rows(SIN, position, HALF, column, ok, HALF)
    return rotate(first, second, cos, -sin)


@triton.jit(do_not_specialize=["N", "G"])
@no_type_check
def attend_backward(
    QKV, KEYS, VALID, STATE, BETA, SCORE, CHOSEN, COS, SIN, MIXED, LOGSUM, D_MIXED, D_QKV, D_GATE, D_PICKED, N, G,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    EP: tl.constexpr, HP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, SCALE: tl.constexpr,
    OWN: tl.constexpr, READOUT: tl.constexpr, HAS_BETA: tl.constexpr, HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Gradients of the chunk's q, k and gated v, and by slot of the selected tokens' rotated keys and gated values.

    `D_PICKED` is [B, H, 2, G, K, E]: of keys, and of values.
    """
    chunk, b, h = place_of(tl.program_id(0), G, H)
    exact = LOGSUM.dtype.element_ty
    half: tl.constexpr = E // 2
    e, i, column = tl.arange(0, EP), tl.arange(0, CP), tl.arange(0, HP)
    row = 3 * H * E
    tokens, d_tokens = QKV + b * N * row + h * E, D_QKV + b * N * row + h * E
    keys = KEYS + b * N * H * E + h * E
    position = chunk * C + i
    in_chunk = (i < C) & (position < N)
    real = are_real(VALID + b * N, position, in_chunk, HAS_VALID)
    d_out = load_rows(D_MIXED + b * N * H * E + h * E, position, H * E, e, real, E)
    council = load_rows(MIXED + b * N * H * E + h * E, position, H * E, e, real, E).to(exact)
    if READOUT:
        place = (b * H + h) * G + chunk
        council -= _read_out(tokens, STATE, BETA, place, position, in_chunk, e, H, E, M, MP, SCALE, HAS_BETA, WIDEN)
    delta = tl.sum(d_out.to(exact) * council, 1)
    logsum = tl.load(LOGSUM + (b * H + h) * N + position, mask=in_chunk, other=HIGH)
    q1, q2 = load_rotated(tokens, position, row, column, in_chunk, COS, SIN, half)
    if OWN:
        k1, k2 = load_halves(keys, position, H * E, column, real, half)
        v, gate = _load_values(tokens + 2 * H * E, position, row, e, real, SCORE + b * N, E)
        seen = in_chunk[:, None] & real[None, :] & (i[None, :] <= i[:, None])
        weight, d_logits = _softmax_backward(
            q1, q2, k1, k2, gated_values(v, gate), seen, logsum, d_out, delta, SCALE, WIDEN
        )
        d_v = dot(tl.trans(weight).to(d_out.dtype), d_out, WIDEN)
        d_gate = tl.sum(d_v * v.to(exact), 1)
        store_rows(d_tokens + 2 * H * E, position, row, e, in_chunk, d_v.to(D_QKV.dtype.element_ty), E)
        d_k1, d_k2 = dot_statistic(tl.trans(d_logits), q1, WIDEN), dot_statistic(tl.trans(d_logits), q2, WIDEN)
        d_k1, d_k2 = _unrotated(d_k1, d_k2, position, column, in_chunk, COS, SIN, half)
        store_halves(d_tokens + H * E, position, row, column, in_chunk, d_k1, d_k2, half)
        d_q1, d_q2 = dot_statistic(d_logits, k1, WIDEN), dot_statistic(d_logits, k2, WIDEN)
    else:
        d_q1, d_q2, d_gate = tl.zeros([CP, HP], exact), tl.zeros([CP, HP], exact), tl.zeros([CP], exact)
        store_halves(d_tokens + H * E, position, row, column, in_chunk, d_q1, d_q2, half)
        store_halves(d_tokens + 2 * H * E, position, row, column, in_chunk, d_q1, d_q2, half)
    tl.store(D_GATE + (b * H + h) * N + position, d_gate, mask=in_chunk)
    for first in range(0, K, TILE):
        slot = first + tl.arange(0, TILE)
        token, filled = load_chosen(CHOSEN + (b * G + chunk) * K, slot, K)
        p1, p2 = load_halves(keys, token, H * E, column, filled, half)
        u, sigma = _load_values(tokens + 2 * H * E, token, row, e, filled, SCORE + b * N, E)
        reads, d_reads = _softmax_backward(
            q1, q2, p1, p2, gated_values(u, sigma), in_chunk[:, None] & filled[None, :], logsum, d_out, delta,
            SCALE, WIDEN,
        )  # fmt: skip
        picked = D_PICKED + ((b * H + h) * 2 * G + chunk) * K * E
        d_u = dot(tl.trans(reads).to(d_out.dtype), d_out, WIDEN).to(D_PICKED.dtype.element_ty)
        store_rows(picked + tl.cast(G, tl.int64) * K * E, slot, E, e, slot < K, d_u, E)
        d_p1, d_p2 = dot_statistic(tl.trans(d_reads), q1, WIDEN), dot_statistic(tl.trans(d_reads), q2, WIDEN)
        store_halves(picked, slot, E, column, slot < K, d_p1, d_p2, half)
        d_q1 += dot_statistic(d_reads, p1, WIDEN)
        d_q2 += dot_statistic(d_reads, p2, WIDEN)
    d_q1, d_q2 = _unrotated(d_q1, d_q2, position, column, in_chunk, COS, SIN, half)
    store_halves(d_tokens, position, row, column, in_chunk, d_q1, d_q2, half)


@triton.jit
@no_type_check
def _add_collected(
    QKV, COS, SIN, D_QKV, D_GATE, is_value, b, h, position, in_chunk, column, first, second, N,
    H: tl.constexpr, E: tl.constexpr,
):  # fmt: skip
    """Adds what later chunks contribute to the keys (rotated) or the values of some tokens of one chunk."""
    half: tl.constexpr = E // 2
    row = 3 * H * E
    here = b * N * row + ((1 + is_value) * H + h) * E
    if is_value:
        v1, v2 = load_halves(QKV + here, position, row, column, in_chunk, half)
        d_gate = tl.sum(first * v1.to(first.dtype), 1) + tl.sum(second * v2.to(first.dtype), 1)
        place = D_GATE + (b * H + h) * N + position
        tl.store(place, tl.load(place, mask=in_chunk, other=0.0) + d_gate, mask=in_chunk)
    else:
        first, second = _unrotated(first, second, position, column, in_chunk, COS, SIN, half)
    add_rows(D_QKV + here, position, row, column, in_chunk, first, half)
    add_rows(D_QKV + here + half, position, row, column, in_chunk, second, half)


@triton.jit(do_not_specialize=["N", "G", "CUTS"])
@no_type_check
def collect_selected(
    QKV, TOKEN, ORDER, STARTS, COS, SIN, D_PICKED, D_QKV, D_GATE, PARTIAL, N, G, CUTS,
    H: tl.constexpr, E: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    HP: tl.constexpr, CP: tl.constexpr, TILE: tl.constexpr, PIECE: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Sums, for the tokens of one chunk, the gradients that later chunks which selected them stored by slot.

    `ORDER` lists slots by their token, and `TOKEN` these tokens; those of chunk g begin at `STARTS[g]`. The list is cut
    at multiples of `PIECE`. Program g < G sums what chunk g has before the first cut after its start, program G + c
    what follows cut c in a chunk that this cut divides. The sum of a chunk that no cut divides is added to the
    gradients; other sums are stored for `add_partial_sums`, the first of a chunk by the cut that ends it, the rest by
    the cut that begins them.
    """
    piece, b, h = place_of(tl.program_id(0), G + CUTS, 2 * H)
    is_value, h = h % 2, h // 2
    cut = (piece - G + 1).to(tl.int64) * PIECE
    chunk = piece
    if piece >= G:
        chunk = tl.load(TOKEN + b * G * K + cut) // C
    start = tl.load(STARTS + b * (G + 1) + chunk, mask=chunk < G, other=0)
    end = tl.load(STARTS + b * (G + 1) + chunk + 1, mask=chunk < G, other=0)
    begin = tl.where(piece < G, start, cut)
    stop = tl.minimum(end, (begin // PIECE + 1) * PIECE)
    if (begin < stop) & ((piece < G) | (start < begin)):
        i, column = tl.arange(0, CP), tl.arange(0, HP)
        half: tl.constexpr = E // 2
        exact = D_GATE.dtype.element_ty
        first, second = tl.zeros([CP, HP], exact), tl.zeros([CP, HP], exact)
        picked = D_PICKED + ((b * H + h) * 2 + is_value) * G * K * E
        for at in range(begin, stop, TILE):
            entry = at + tl.arange(0, TILE)
            slot = tl.load(ORDER + b * G * K + entry, mask=entry < stop, other=0)
            token = tl.load(TOKEN + b * G * K + entry, mask=entry < stop, other=-1) - chunk * C
            left, right = load_halves(picked, slot, E, column, entry < stop, half)
            pick = (i[:, None] == token[None, :]).to(exact).to(left.dtype)  # the interpreter misreads bits as bfloat16
            first += dot(pick, left, WIDEN)
            second += dot(pick, right, WIDEN)
        if end <= (start // PIECE + 1) * PIECE:
            position = chunk * C + i
            _add_collected(
                QKV, COS, SIN, D_QKV, D_GATE, is_value, b, h, position, (i < C) & (position < N), column,
                first, second, N, H, E,
            )  # fmt: skip
        else:
            place = tl.where(piece < G, start // PIECE, CUTS + piece - G) + ((b * H + h) * 2 + is_value) * 2 * CUTS
            store_halves(PARTIAL + place * C * E, i, E, column, i < C, first, second, half)


@triton.jit(do_not_specialize=["N", "G", "CUTS"])
@no_type_check
def add_partial_sums(
    QKV, TOKEN, STARTS, COS, SIN, D_QKV, D_GATE, PARTIAL, N, G, CUTS,
    H: tl.constexpr, E: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    HP: tl.constexpr, CP: tl.constexpr, PIECE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Adds the sums of every chunk that cuts divide, in order; a program for its first cut and `ROWS` of its tokens."""
    slices: tl.constexpr = CP // ROWS
    cut, b, h = place_of(tl.program_id(0), CUTS, 2 * H * slices)
    cut = cut.to(tl.int64)
    part, is_value, h = h % slices, h // slices % 2, h // slices // 2
    chunk = tl.load(TOKEN + b * G * K + (cut + 1) * PIECE) // C
    start = tl.load(STARTS + b * (G + 1) + chunk, mask=chunk < G, other=0)
    end = tl.load(STARTS + b * (G + 1) + chunk + 1, mask=chunk < G, other=0)
    if (start // PIECE == cut) & (end > (cut + 1) * PIECE):
        half: tl.constexpr = E // 2
        i, column = part * ROWS + tl.arange(0, ROWS), tl.arange(0, HP)
        sums = PARTIAL + ((b * H + h) * 2 + is_value) * 2 * CUTS * C * E
        first, second = load_halves(sums + cut * C * E, i, E, column, i < C, half)
        for later in range(cut, (end - 1) // PIECE):
            left, right = load_halves(sums + (CUTS + later) * C * E, i, E, column, i < C, half)
            first += left
            second += right
        position = chunk * C + i
        _add_collected(
            QKV, COS, SIN, D_QKV, D_GATE, is_value, b, h, position, (i < C) & (position < N), column,
            first, second, N, H, E,
        )  # fmt: skip
