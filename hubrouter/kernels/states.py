"""Encode: the hubs' summaries of all earlier chunks, by a scan in steps over segments of chunks and blocks of segments.

Step one processes the chunks of each segment, step two sums the segments of each block but the last, step three adds
earlier blocks and the earlier segments of the own block. Segments and blocks have a fixed size, so how a prefix is
computed does not depend on the length of the sequence. The backward pass is the same scan in the opposite direction.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.decode import EPS
from hubrouter.kernels.tiles import (
    LOW,
    add_rows,
    are_real,
    dot,
    earlier_sum,
    earlier_sums,
    load_gates,
    load_rows,
    place_of,
    store_rows,
)

LEAST_SPREAD = tl.constexpr(EPS)


@triton.jit
@no_type_check
def _hub_rows(base, m, e, M: tl.constexpr, E: tl.constexpr):
    """One [M, E] matrix, padded."""
    return load_rows(base, m, E, e, m < M, E)


@triton.jit
@no_type_check
def _load_summary(PEAK, TOTAL, WEIGHTED, row, m, e, M: tl.constexpr, E: tl.constexpr):
    """One row of summaries; padding hubs of the tile have none."""
    peak = tl.load(PEAK + row * M + m, mask=m < M, other=LOW)
    total = tl.load(TOTAL + row * M + m, mask=m < M, other=0.0)
    return peak, total, _hub_rows(WEIGHTED + row * M * E, m, e, M, E)


@triton.jit
@no_type_check
def _store_summary(PEAK, TOTAL, WEIGHTED, row, m, e, peak, total, weighted, M: tl.constexpr, E: tl.constexpr):
    """The opposite of `_load_summary`."""
    tl.store(PEAK + row * M + m, peak, mask=m < M)
    tl.store(TOTAL + row * M + m, total, mask=m < M)
    store_rows(WEIGHTED + row * M * E, m, E, e, m < M, weighted, E)


@triton.jit(do_not_specialize=["N", "G", "SEGMENTS", "ROWS"])
@no_type_check
def summarise_segments(
    QKV, HUBS, VALID, PEAK, TOTAL, WEIGHTED, N, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, SPAN: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Rows 0 … G-1 of (peak, total, weighted): a segment's summary before its chunk; row G + s: of all of segment s."""
    segment, b, h = place_of(tl.program_id(0), SEGMENTS, H)
    exact = PEAK.dtype.element_ty
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    hubs = _hub_rows(HUBS + h * M * E, m, e, M, E)
    tokens = QKV + b * N * 3 * H * E + h * E
    first_row = (b * H + h) * ROWS
    peak, total = tl.full([MP], LOW, exact), tl.zeros([MP], exact)
    weighted = tl.zeros([MP, EP], exact)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        _store_summary(PEAK, TOTAL, WEIGHTED, first_row + chunk, m, e, peak, total, weighted, M, E)
        position = chunk * C + i
        real = are_real(VALID + b * N, position, (i < C) & (position < N), HAS_VALID)
        k = load_rows(tokens + H * E, position, 3 * H * E, e, real, E)
        v = load_rows(tokens + 2 * H * E, position, 3 * H * E, e, real, E)
        logits = tl.where(real[None, :], dot(hubs.to(k.dtype), tl.trans(k), WIDEN) * SCALE, LOW)
        higher = tl.maximum(peak, tl.max(logits, 1))
        weight = tl.where(real[None, :], tl.exp(logits - higher[:, None]), 0.0)
        rescale = tl.exp(peak - higher)
        total = total * rescale + tl.sum(weight, 1)
        weighted = weighted * rescale[:, None] + dot(weight.to(v.dtype), v, WIDEN)
        peak = higher
    _store_summary(PEAK, TOTAL, WEIGHTED, first_row + G + segment, m, e, peak, total, weighted, M, E)


@triton.jit
@no_type_check
def _combine(peak, total, weighted, other_peak, other_total, other_weighted):
    """The summary of both token sets."""
    higher = tl.maximum(peak, other_peak)
    a, b = tl.exp(peak - higher), tl.exp(other_peak - higher)
    return higher, total * a + other_total * b, weighted * a[:, None] + other_weighted * b[:, None]


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def sum_blocks(
    PEAK, TOTAL, WEIGHTED, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    """Row G + SEGMENTS + t of (peak, total, weighted): of all of block t, the last excepted."""
    block, b, h = place_of(tl.program_id(0), ROWS - G - SEGMENTS, H)
    exact = PEAK.dtype.element_ty
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row = (b * H + h) * ROWS + G
    peak, total, weighted = tl.full([MP], LOW, exact), tl.zeros([MP], exact), tl.zeros([MP, EP], exact)
    for segment in range(block * SPAN, block * SPAN + SPAN):
        p, z, w = _load_summary(PEAK, TOTAL, WEIGHTED, first_row + segment, m, e, M, E)
        peak, total, weighted = _combine(peak, total, weighted, p, z, w)
    _store_summary(PEAK, TOTAL, WEIGHTED, first_row + SEGMENTS + block, m, e, peak, total, weighted, M, E)


@triton.jit
@no_type_check
def normalised(average, gates, E: tl.constexpr):
    """Averages [M, E] normalised over the open hubs, zero for closed ones; what was subtracted, and the divisor."""
    is_open = (gates > LOW)[:, None]
    count = tl.sum(is_open.to(average.dtype))
    mean = tl.where(count > 1, tl.sum(tl.where(is_open, average, 0.0), 0) / count, 0.0)
    centred = tl.where(is_open, average - mean[None, :], 0.0)
    spread = tl.sqrt(tl.sum(tl.sum(centred * centred, 1), 0) / (count * E) + LEAST_SPREAD * LEAST_SPREAD)
    return centred / spread, mean, spread


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def carry_states(
    HUBS, BETA, PEAK, TOTAL, WEIGHTED, STATE, MEAN, SPREAD, LAST_WEIGHTED, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
    HAS_BETA: tl.constexpr,
):  # fmt: skip
    """Adds what is earlier to each segment; peak and total become those of whole prefixes.

    `STATE` gets their normalised averages, `MEAN` and `SPREAD` what was subtracted from the averages and what they were
    divided by. `LAST_WEIGHTED` gets the last prefix's weighted sum, unrounded: streams continue from it.
    """
    segment, b, h = place_of(tl.program_id(0), SEGMENTS, H)
    exact = PEAK.dtype.element_ty
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row = (b * H + h) * ROWS
    peak, total = tl.zeros([MP], exact), tl.full([MP], 1.0, exact)
    weighted = _hub_rows(HUBS + h * M * E, m, e, M, E).to(exact)
    gates = load_gates(BETA, m, M, HAS_BETA)
    for index in range(earlier_sums(segment, SPAN)):
        row = first_row + G + earlier_sum(index, segment, SEGMENTS, SPAN)
        p, z, w = _load_summary(PEAK, TOTAL, WEIGHTED, row, m, e, M, E)
        peak, total, weighted = _combine(peak, total, weighted, p, z, w)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        row = first_row + chunk
        p, z, w = _load_summary(PEAK, TOTAL, WEIGHTED, row, m, e, M, E)
        p, z, w = _combine(peak, total, weighted, p, z, w)
        tl.store(PEAK + row * M + m, p, mask=m < M)
        tl.store(TOTAL + row * M + m, z, mask=m < M)
        place = (b * H + h) * G + chunk
        state, mean, spread = normalised(w / z[:, None], gates, E)
        store_rows(STATE + place * M * E, m, E, e, m < M, state.to(STATE.dtype.element_ty), E)
        tl.store(MEAN + place * E + e, mean, mask=e < E)
        tl.store(SPREAD + place, spread)
        if chunk == G - 1:
            store_rows(LAST_WEIGHTED + (b * H + h) * M * E, m, E, e, m < M, w, E)


@triton.jit
@no_type_check
def _from_average(PEAK, TOTAL, D_AVERAGE, D_PRODUCT, row, place, m, e, M: tl.constexpr, E: tl.constexpr):
    """One prefix's peak, and the gradients of its weighted sum and of its total.

    `D_PRODUCT` has the products of the averages with their gradients.
    """
    peak = tl.load(PEAK + row * M + m, mask=m < M, other=0.0)
    total = tl.load(TOTAL + row * M + m, mask=m < M, other=1.0)
    d_weighted = _hub_rows(D_AVERAGE + place * M * E, m, e, M, E) / total[:, None]
    return peak, d_weighted, -tl.load(D_PRODUCT + place * M + m, mask=m < M, other=0.0) / total


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def sum_segments_backward(
    PEAK, TOTAL, D_AVERAGE, D_PRODUCT, D_TOTAL, D_WEIGHTED, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    """Row s of the gradients of (total, weighted): of all of segment s, relative to the peak of its first prefix."""
    segment, b, h = place_of(tl.program_id(0), SEGMENTS, H)
    exact = PEAK.dtype.element_ty
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row, first_state = (b * H + h) * ROWS, (b * H + h) * G
    d_total, d_weighted = tl.zeros([MP], exact), tl.zeros([MP, EP], exact)
    start = tl.load(PEAK + (first_row + segment * SPAN) * M + m, mask=m < M, other=0.0)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        peak, dw, dz = _from_average(
            PEAK, TOTAL, D_AVERAGE, D_PRODUCT, first_row + chunk, first_state + chunk, m, e, M, E
        )
        rescale = tl.exp(start - peak)
        d_total += dz * rescale
        d_weighted += dw * rescale[:, None]
    row = (b * H + h) * (ROWS - G) + segment
    tl.store(D_TOTAL + row * M + m, d_total, mask=m < M)
    store_rows(D_WEIGHTED + row * M * E, m, E, e, m < M, d_weighted, E)


@triton.jit
@no_type_check
def _add_earlier(
    PEAK, D_TOTAL, D_WEIGHTED, prefix, row, m, e, peak, d_total, d_weighted, M: tl.constexpr, E: tl.constexpr
):
    """The sum over later prefixes, with those of the segment or block added that begins with this prefix."""
    start = tl.load(PEAK + prefix * M + m, mask=m < M, other=0.0)
    rescale = tl.exp(tl.minimum(start - peak, 0.0))  # positive only while nothing has been summed yet
    d_total = d_total * rescale + tl.load(D_TOTAL + row * M + m, mask=m < M, other=0.0)
    return start, d_total, d_weighted * rescale[:, None] + _hub_rows(D_WEIGHTED + row * M * E, m, e, M, E)


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def sum_blocks_backward(
    PEAK, D_TOTAL, D_WEIGHTED, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, SPAN: tl.constexpr, EP: tl.constexpr, MP: tl.constexpr,
):  # fmt: skip
    """Row SEGMENTS + t - 1 of the gradients of (total, weighted): of all of block t, the first excepted."""
    block, b, h = place_of(tl.program_id(0), ROWS - G - SEGMENTS, H)
    block += 1
    exact = PEAK.dtype.element_ty
    m, e = tl.arange(0, MP), tl.arange(0, EP)
    first_row, first_sum = (b * H + h) * ROWS, (b * H + h) * (ROWS - G)
    peak, d_total, d_weighted = tl.zeros([MP], exact), tl.zeros([MP], exact), tl.zeros([MP, EP], exact)
    last = tl.minimum(block * SPAN + SPAN, SEGMENTS)
    for back in range(last - block * SPAN):
        segment = last - 1 - back
        peak, d_total, d_weighted = _add_earlier(
            PEAK, D_TOTAL, D_WEIGHTED, first_row + segment * SPAN, first_sum + segment, m, e, peak, d_total, d_weighted,
            M, E,
        )  # fmt: skip
    row = first_sum + SEGMENTS + block - 1
    tl.store(D_TOTAL + row * M + m, d_total, mask=m < M)
    store_rows(D_WEIGHTED + row * M * E, m, E, e, m < M, d_weighted, E)


@triton.jit(do_not_specialize=["N", "G", "SEGMENTS", "ROWS"])
@no_type_check
def encode_backward(
    QKV, HUBS, VALID, PEAK, TOTAL, D_AVERAGE, D_PRODUCT, D_TOTAL, D_WEIGHTED, D_QKV, D_HUBS, N, G, SEGMENTS, ROWS,
    H: tl.constexpr, E: tl.constexpr, M: tl.constexpr, C: tl.constexpr, SPAN: tl.constexpr,
    EP: tl.constexpr, MP: tl.constexpr, CP: tl.constexpr, SCALE: tl.constexpr,
    HAS_VALID: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Adds the hubs' part to the gradients of k and v, from the last chunk of a segment to its first.

    Before chunk c is processed, (d_total, d_weighted) is the sum over all later prefixes, relative to the peak of the
    next one: exponents are never positive, because peaks of prefixes never decrease.
    """
    segment, b, h = place_of(tl.program_id(0), SEGMENTS, H)
    exact = PEAK.dtype.element_ty
    m, e, i = tl.arange(0, MP), tl.arange(0, EP), tl.arange(0, CP)
    first_row, first_sum, first_state = (b * H + h) * ROWS, (b * H + h) * (ROWS - G), (b * H + h) * G
    hubs = _hub_rows(HUBS + h * M * E, m, e, M, E)
    here = b * N * 3 * H * E + h * E
    d_total, d_weighted, d_hubs = tl.zeros([MP], exact), tl.zeros([MP, EP], exact), tl.zeros([MP, EP], exact)
    peak = tl.zeros([MP], exact)
    block = segment // SPAN
    blocks, last = ROWS - G - SEGMENTS - block, tl.minimum(block * SPAN + SPAN, SEGMENTS)
    for back in range(blocks + last - 1 - segment):  # later blocks, then later segments of the own one
        is_block, later = back < blocks, blocks + last - 1 - back
        start = tl.where(is_block, (blocks + block - back) * SPAN, later) * SPAN
        row = tl.where(is_block, SEGMENTS + blocks + block - back - 1, later)
        peak, d_total, d_weighted = _add_earlier(
            PEAK, D_TOTAL, D_WEIGHTED, first_row + start, first_sum + row, m, e, peak, d_total, d_weighted, M, E
        )
    last = tl.minimum(segment * SPAN + SPAN, G)
    for back in range(last - segment * SPAN):
        chunk = last - 1 - back
        position = chunk * C + i
        real = are_real(VALID + b * N, position, (i < C) & (position < N), HAS_VALID)
        real = real & (chunk < G - 1)  # no chunk reads the last one
        k = load_rows(QKV + here + H * E, position, 3 * H * E, e, real, E)
        v = load_rows(QKV + here + 2 * H * E, position, 3 * H * E, e, real, E)
        if k.dtype == tl.float16:  # under loss scaling, sums of gradients exceed what float16 can represent
            k, v = k.to(tl.float32), v.to(tl.float32)
        logits = dot(hubs.to(k.dtype), tl.trans(k), WIDEN) * SCALE - peak[:, None]
        weight = tl.exp(tl.where(real[None, :], logits, LOW))
        d_v = dot(tl.trans(weight).to(v.dtype), d_weighted.to(v.dtype), WIDEN)
        d_logits = weight * (dot(d_weighted.to(v.dtype), tl.trans(v), WIDEN) + d_total[:, None]) * SCALE
        d_k = dot(tl.trans(d_logits).to(k.dtype), hubs.to(k.dtype), WIDEN)
        d_hubs += dot(d_logits.to(k.dtype), k, WIDEN)
        add_rows(D_QKV + here + H * E, position, 3 * H * E, e, real, d_k, E)
        add_rows(D_QKV + here + 2 * H * E, position, 3 * H * E, e, real, d_v, E)
        here_peak, dw, dz = _from_average(
            PEAK, TOTAL, D_AVERAGE, D_PRODUCT, first_row + chunk, first_state + chunk, m, e, M, E
        )
        rescale = tl.exp(tl.minimum(here_peak - peak, 0.0))
        d_total, d_weighted, peak = d_total * rescale + dz, d_weighted * rescale[:, None] + dw, here_peak
    if segment == 0:
        d_hubs += d_weighted  # a hub's own embedding is its first value, of weight 1
    row = (b * H + h) * SEGMENTS + segment
    store_rows(D_HUBS + row * M * E, m, E, e, m < M, d_hubs, E)
