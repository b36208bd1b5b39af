"""Select: the strongest claims among all earlier chunks, by the same scan as in `states.py`.

A claim and its position make one int64 key: the claim in units of its grid in the upper half, the counted-down position
in the lower. Keys are unique, larger claims come first and the lower position first among equals, so one sort of values
equals a stable sort of pairs.
"""

from typing import no_type_check

import triton
import triton.language as tl

from hubrouter.kernels.tiles import EMPTY, EMPTY_KEY, LARGEST, LAST, are_real, earlier_sum, earlier_sums, place_of


@triton.jit
@no_type_check
def _on_grid(score, GRID: tl.constexpr):
    """Scores in units of the grid, halves to even as torch rounds; beyond ±2^30 all are equal, NaN comes first."""
    scaled = score * GRID
    below = tl.floor(scaled)
    rest, odd = scaled - below, below - 2.0 * tl.floor(below * 0.5) > 0.5
    nearest = below + tl.where((rest > 0.5) | ((rest == 0.5) & odd), 1.0, 0.0)
    nearest = tl.minimum(tl.maximum(nearest, -1.0 * LARGEST), 1.0 * LARGEST)
    return tl.where(score == score, nearest, 1.0 * LARGEST).to(tl.int32)


@triton.jit
@no_type_check
def _keys_of_chunk(
    SCORE, VALID, chunk, i, N, C: tl.constexpr, NEIGHBOURS: tl.constexpr, GRID: tl.constexpr, HAS_VALID: tl.constexpr
):
    """The chunk's keys: a token's claim is the largest score among itself and its predecessors."""
    position = chunk * C + i
    real = are_real(VALID, position, (i < C) & (position < N), HAS_VALID)
    claim = tl.full(i.shape, EMPTY, tl.int32)
    for back in range(NEIGHBOURS + 1):
        before = position - back
        exists = are_real(VALID, before, (i < C) & (before >= 0) & (before < N), HAS_VALID)
        score = tl.load(SCORE + before, mask=exists, other=0.0)
        claim = tl.maximum(claim, tl.where(exists, _on_grid(score, GRID), EMPTY))
    claim = tl.where(real, claim, EMPTY)
    return (claim.to(tl.int64) << 32) | (-position + LAST).to(tl.int64)


@triton.jit
@no_type_check
def merge(first, second, WIDE: tl.constexpr):
    """The best `WIDE` of two lists of that length, a power of two up to 1024; all three in descending order.

    The larger of each of the first with its counterpart in the reversed second are those, and first fall, then rise, or
    the opposite: such a list is sorted by log2(WIDE) rounds in which each element meets one other.
    """
    i = tl.arange(0, WIDE)
    best = tl.maximum(first, tl.gather(second, WIDE - 1 - i, 0))
    for halving in tl.static_range(1, 11):
        if WIDE >> halving > 0:
            distance = WIDE >> halving
            other = tl.gather(best, i ^ distance, 0)
            best = tl.where((i & distance) == 0, tl.maximum(best, other), tl.minimum(best, other))
    return best


@triton.jit(do_not_specialize=["N", "G", "SEGMENTS", "ROWS"])
@no_type_check
def select_in_segments(
    SCORE, VALID, KEYS, N, G, SEGMENTS, ROWS, C: tl.constexpr, NEIGHBOURS: tl.constexpr, GRID: tl.constexpr,
    SPAN: tl.constexpr, WIDE: tl.constexpr, HAS_VALID: tl.constexpr,
):  # fmt: skip
    """Rows 0 … G-1 of `KEYS`: the best of a segment before its chunk; row G + s: of all of segment s."""
    segment, b, _ = place_of(tl.program_id(0), SEGMENTS, 1)
    i = tl.arange(0, WIDE)
    best = tl.full([WIDE], EMPTY_KEY, tl.int64)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        tl.store(KEYS + (b * ROWS + chunk) * WIDE + i, best)
        keys = _keys_of_chunk(SCORE + b * N, VALID + b * N, chunk, i, N, C, NEIGHBOURS, GRID, HAS_VALID)
        best = merge(best, tl.sort(keys, descending=True), WIDE)
    tl.store(KEYS + (b * ROWS + G + segment) * WIDE + i, best)


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def select_in_blocks(KEYS, G, SEGMENTS, ROWS, SPAN: tl.constexpr, WIDE: tl.constexpr):
    """Row G + SEGMENTS + t of `KEYS`: the best of all of block t, the last excepted."""
    block, b, _ = place_of(tl.program_id(0), ROWS - G - SEGMENTS, 1)
    i, first = tl.arange(0, WIDE), b * ROWS + G
    best = tl.full([WIDE], EMPTY_KEY, tl.int64)
    for segment in range(block * SPAN, block * SPAN + SPAN):
        best = merge(best, tl.load(KEYS + (first + segment) * WIDE + i), WIDE)
    tl.store(KEYS + (first + SEGMENTS + block) * WIDE + i, best)


@triton.jit(do_not_specialize=["G", "SEGMENTS", "ROWS"])
@no_type_check
def carry_selection(KEYS, CHOSEN, G, SEGMENTS, ROWS, K: tl.constexpr, SPAN: tl.constexpr, WIDE: tl.constexpr):
    """Adds what is earlier to each segment: the K best before every chunk, strongest first."""
    segment, b, _ = place_of(tl.program_id(0), SEGMENTS, 1)
    i, first = tl.arange(0, WIDE), b * ROWS
    best = tl.full([WIDE], EMPTY_KEY, tl.int64)
    for index in range(earlier_sums(segment, SPAN)):
        best = merge(best, tl.load(KEYS + (first + G + earlier_sum(index, segment, SEGMENTS, SPAN)) * WIDE + i), WIDE)
    for chunk in range(segment * SPAN, tl.minimum(segment * SPAN + SPAN, G)):
        here = merge(best, tl.load(KEYS + (first + chunk) * WIDE + i), WIDE)
        tl.store(CHOSEN + (b * G + chunk) * K + i, here, mask=i < K)
