"""Encode: the hubs' summaries of all earlier chunks, by a scan in two steps over segments of chunks.

Step one processes the chunks of each segment, step two adds the summaries of earlier segments. A segment has a fixed
number of chunks, so how a prefix is computed does not depend on the length of the sequence. The backward pass is the
same scan in the opposite direction.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import LOW, add_rows, are_real, dot, load_rows, store_rows


@triton.jit
@no_type_check
def _hub_rows(base, m, e, M: tl.constexpr, E: tl.constexpr):
    """One [M, E] matrix, padded."""
    return load_rows(base, m, E, e, m < M, E)


@triton.jit
@no_type_check
def summarise_segments(
    QKV, HUBS, VALID, PEAK, TOTAL, WEIGHTED, N, G, SEGMENTS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, SPAN: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Rows 0 … G-1 of (peak, total, weighted): a segment's summary before its chunk; row G + s: of all of segment s."""
    segment, b, h = tl.program_id(0), tl.program_id(1) // H, tl.program_id(1) % H
    exact = PEAK.dtype.element_ty
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    hubs = _hub_rows(HUBS + h * M * E, m, e, M, E)
    tokens = QKV + b.to(tl.int64) * N * 3 * H * E + h * E
    first_row = tl.program_id(1).to(tl.int64) * (G + SEGMENTS)
    peak, total = tl.full([MP], LOW, exact), tl.zeros([MP], exact)
    weighted = tl.zeros([MP, EP], exact)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        row = first_row + chunk
        tl.store(PEAK + row * M + m, peak, mask=m < M)
        tl.store(TOTAL + row * M + m, total, mask=m < M)
        store_rows(WEIGHTED + row * M * E, m, E, e, m < M, weighted, E)
        position = chunk * C + i
        real = are_real(VALID + b.to(tl.int64) * N, position, (i < C) & (position < N), HAS_VALID)
        k = load_rows(tokens + H * E, position, 3 * H * E, e, real, E)
        v = load_rows(tokens + 2 * H * E, position, 3 * H * E, e, real, E)
        logits = tl.where(real[None, :], dot(hubs.to(k.dtype), tl.trans(k), WIDEN) * SCALE, LOW)
        higher = tl.maximum(peak, tl.max(logits, 1))
        weight = tl.where(real[None, :], tl.exp(logits - higher[:, None]), 0.0)
        rescale = tl.exp(peak - higher)
        total = total * rescale + tl.sum(weight, 1)
        weighted = weighted * rescale[:, None] + dot(weight.to(v.dtype), v, WIDEN)
        peak = higher
    row = first_row + G + segment
    tl.store(PEAK + row * M + m, peak, mask=m < M)
    tl.store(TOTAL + row * M + m, total, mask=m < M)
    store_rows(WEIGHTED + row * M * E, m, E, e, m < M, weighted, E)


@triton.jit
@no_type_check
def _load_summary(PEAK, TOTAL, WEIGHTED, row, m, e, M: tl.constexpr, E: tl.constexpr):
    """One row of summaries; padding hubs of the tile have none."""
    peak = tl.load(PEAK + row * M + m, mask=m < M, other=LOW)
    total = tl.load(TOTAL + row * M + m, mask=m < M, other=0.0)
    return peak, total, _hub_rows(WEIGHTED + row * M * E, m, e, M, E)


@triton.jit
@no_type_check
def _combine(peak, total, weighted, other_peak, other_total, other_weighted):
    """The summary of both token sets."""
    higher = tl.maximum(peak, other_peak)
    a, b = tl.exp(peak - higher), tl.exp(other_peak - higher)
    return higher, total * a + other_total * b, weighted * a[:, None] + other_weighted * b[:, None]


@triton.jit
@no_type_check
def carry_states(
    HUBS, PEAK, TOTAL, WEIGHTED, STATE, LAST_WEIGHTED, G, SEGMENTS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    """Adds earlier segments to each; peak and total become those of whole prefixes, `STATE` their averages.

    `LAST_WEIGHTED` gets the last prefix's weighted sum, unrounded: streams continue from it.
    """
    segment, h = tl.program_id(0), tl.program_id(1) % H
    exact = PEAK.dtype.element_ty
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row = tl.program_id(1).to(tl.int64) * (G + SEGMENTS)
    peak, total = tl.zeros([MP], exact), tl.full([MP], 1.0, exact)
    weighted = _hub_rows(HUBS + h * M * E, m, e, M, E).to(exact)
    for earlier in range(segment):
        p, z, w = _load_summary(PEAK, TOTAL, WEIGHTED, first_row + G + earlier, m, e, M, E)
        peak, total, weighted = _combine(peak, total, weighted, p, z, w)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        row = first_row + chunk
        p, z, w = _load_summary(PEAK, TOTAL, WEIGHTED, row, m, e, M, E)
        p, z, w = _combine(peak, total, weighted, p, z, w)
        tl.store(PEAK + row * M + m, p, mask=m < M)
        tl.store(TOTAL + row * M + m, z, mask=m < M)
        state = (tl.program_id(1).to(tl.int64) * G + chunk) * M * E
        store_rows(STATE + state, m, E, e, m < M, (w / z[:, None]).to(STATE.dtype.element_ty), E)
        if chunk == G - 1:
            store_rows(LAST_WEIGHTED + tl.program_id(1).to(tl.int64) * M * E, m, E, e, m < M, w, E)


@triton.jit
@no_type_check
def _from_state(PEAK, TOTAL, STATE, D_STATE, row, state_row, m, e, M: tl.constexpr, E: tl.constexpr):
    """One prefix's peak, and the gradients of its weighted sum and of its total."""
    peak = tl.load(PEAK + row * M + m, mask=m < M, other=0.0)
    total = tl.load(TOTAL + row * M + m, mask=m < M, other=1.0)
    state = _hub_rows(STATE + state_row * M * E, m, e, M, E).to(peak.dtype)
    d_weighted = _hub_rows(D_STATE + state_row * M * E, m, e, M, E) / total[:, None]
    return peak, d_weighted, -tl.sum(d_weighted * state, 1)


@triton.jit
@no_type_check
def sum_segments_backward(
    PEAK, TOTAL, STATE, D_STATE, D_TOTAL, D_WEIGHTED, G, SEGMENTS,
    E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    """Each segment's gradients of (total, weighted), relative to the peak of its first prefix."""
    segment = tl.program_id(0)
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row, first_state = tl.program_id(1).to(tl.int64) * (G + SEGMENTS), tl.program_id(1).to(tl.int64) * G
    exact = PEAK.dtype.element_ty
    d_total, d_weighted = tl.zeros([MP], exact), tl.zeros([MP, EP], exact)
    start = tl.load(PEAK + (first_row + segment * SPAN) * M + m, mask=m < M, other=0.0)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        peak, dw, dz = _from_state(PEAK, TOTAL, STATE, D_STATE, first_row + chunk, first_state + chunk, m, e, M, E)
        rescale = tl.exp(start - peak)
        d_total += dz * rescale
        d_weighted += dw * rescale[:, None]
    row = tl.program_id(1).to(tl.int64) * SEGMENTS + segment
    tl.store(D_TOTAL + row * M + m, d_total, mask=m < M)
    store_rows(D_WEIGHTED + row * M * E, m, E, e, m < M, d_weighted, E)


@triton.jit
@no_type_check
def encode_backward(
    QKV, HUBS, VALID, PEAK, TOTAL, STATE, D_STATE, D_TOTAL, D_WEIGHTED, D_QKV, D_HUBS, N, G, SEGMENTS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, SPAN: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Adds the hubs' part to the gradients of k and v, from the last chunk of a segment to its first.

    Before chunk c is processed, (d_total, d_weighted) is the sum over all later prefixes, relative to the peak of the
    next one: exponents are never positive, because peaks of prefixes never decrease.
    """
    segment, b, h = tl.program_id(0), tl.program_id(1) // H, tl.program_id(1) % H
    exact = PEAK.dtype.element_ty
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    first_row, first_state = tl.program_id(1).to(tl.int64) * (G + SEGMENTS), tl.program_id(1).to(tl.int64) * G
    hubs = _hub_rows(HUBS + h * M * E, m, e, M, E)
    here = b.to(tl.int64) * N * 3 * H * E + h * E
    d_total, d_weighted, d_hubs = tl.zeros([MP], exact), tl.zeros([MP, EP], exact), tl.zeros([MP, EP], exact)
    peak = tl.zeros([MP], exact)
    for back in range(SEGMENTS - 1 - segment):
        later = SEGMENTS - 1 - back
        start = tl.load(PEAK + (first_row + later * SPAN) * M + m, mask=m < M, other=0.0)
        rescale = tl.exp(
            tl.minimum(start - peak, 0.0)
        )  # only the first can be above, and there nothing has been summed yet
        row = tl.program_id(1).to(tl.int64) * SEGMENTS + later
        d_total = d_total * rescale + tl.load(D_TOTAL + row * M + m, mask=m < M, other=0.0)
        d_weighted = d_weighted * rescale[:, None] + _hub_rows(D_WEIGHTED + row * M * E, m, e, M, E)
        peak = start
    last = tl.minimum(segment * SPAN + SPAN, G)
    for back in range(last - segment * SPAN):
        chunk = last - 1 - back
        position = chunk * C + i
        real = are_real(VALID + b.to(tl.int64) * N, position, (i < C) & (position < N), HAS_VALID)
        real = real & (chunk < G - 1)  # no chunk reads the last one
        k = load_rows(QKV + here + H * E, position, 3 * H * E, e, real, E)
        v = load_rows(QKV + here + 2 * H * E, position, 3 * H * E, e, real, E)
        logits = dot(hubs.to(k.dtype), tl.trans(k), WIDEN) * SCALE - peak[:, None]
        weight = tl.exp(tl.where(real[None, :], logits, LOW))
        d_v = dot(tl.trans(weight).to(v.dtype), d_weighted.to(v.dtype), WIDEN)
        d_logits = weight * (dot(d_weighted.to(v.dtype), tl.trans(v), WIDEN) + d_total[:, None]) * SCALE
        d_k = dot(tl.trans(d_logits).to(k.dtype), hubs.to(k.dtype), WIDEN)
        d_hubs += dot(d_logits.to(k.dtype), k, WIDEN)
        add_rows(D_QKV + here + H * E, position, 3 * H * E, e, real, d_k, E)
        add_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, real, d_v, E)
        here_peak, dw, dz = _from_state(PEAK, TOTAL, STATE, D_STATE, first_row + chunk, first_state + chunk, m, e, M, E)
        rescale = tl.exp(tl.minimum(here_peak - peak, 0.0))
        d_total, d_weighted, peak = d_total * rescale + dz, d_weighted * rescale[:, None] + dw, here_peak
    if segment == 0:
        d_hubs += d_weighted  # a hub's own embedding is its first value, of weight 1
    row = tl.program_id(1).to(tl.int64) * SEGMENTS + segment
    store_rows(D_HUBS + row * M * E, m, E, e, m < M, d_hubs, E)
