"""Functions that the kernels share: tiles of tokens, products, the rotary embedding, fingerprints and selection keys.

Kernels read `qkv` as the projection lays it out, [B, N, 3, H, E], without a copy. Tiles are padded to powers of two, at
least 16 per side; what is outside a sequence is loaded as zero, so buffers need no initialisation.
"""

from typing import no_type_check

import triton
import triton.language as tl

LOW = tl.constexpr(-1e38)  # a masked logit: finite, so that no difference of two is NaN
HIGH = tl.constexpr(1e38)  # the logsumexp of a query that may read no token: every weight is then 0
EMPTY = tl.constexpr(-(1 << 31))  # the claim of an empty slot or of padding, in units of the grid
EMPTY_KEY = tl.constexpr(-(1 << 63))
LARGEST = tl.constexpr(1 << 30)  # larger claims are equal
LAST = tl.constexpr(0x7FFFFFFF)  # positions count down from here in a key, so that lower ones come first


@triton.jit
@no_type_check
def dot(a, b, WIDEN: tl.constexpr):
    """The product, accumulated in at least float32; `WIDEN` is for the interpreter, which cannot multiply bfloat16."""
    if WIDEN:
        a, b = a.to(tl.float32), b.to(tl.float32)
    if a.dtype == tl.float32:  # three tensor core products, about as precise as one of float32
        return tl.dot(a, b, input_precision="tf32x3")
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
@no_type_check
def dot_statistic(statistic, b, WIDEN: tl.constexpr):
    """The product of a statistic of at least float32 with tokens, in their dtype.

    In float16 it is a TF32 product, which is exact in the tokens: under loss scaling a gradient's statistic may exceed
    what float16 can represent although the product does not.
    """
    if b.dtype == tl.float16:
        return tl.dot(statistic, b.to(tl.float32), input_precision="tf32")
    return dot(statistic.to(b.dtype), b, WIDEN)


@triton.jit
@no_type_check
def place_of(program, G, H: tl.constexpr):
    """Chunk, batch row and head of a program of a one-dimensional grid, chunks first."""
    rest = program // G
    return program % G, (rest // H).to(tl.int64), rest % H


@triton.jit
@no_type_check
def _address(base, row, stride, column):
    """Addresses of a tile; 64 bits wide, because a row times a stride exceeds 32 bits in a long sequence."""
    return base + row.to(tl.int64)[:, None] * stride + column[None, :]


@triton.jit
@no_type_check
def load_rows(base, row, stride, column, ok, WIDTH: tl.constexpr):
    """The rows `row` of a matrix with `WIDTH` columns; zero where not `ok` and beyond the width."""
    inside = ok[:, None] & (column < WIDTH)[None, :]
    return tl.load(_address(base, row, stride, column), mask=inside, other=0.0)


@triton.jit
@no_type_check
def store_rows(base, row, stride, column, ok, value, WIDTH: tl.constexpr):
    """The opposite of `load_rows`; rows that are not `ok` are not changed."""
    inside = ok[:, None] & (column < WIDTH)[None, :]
    tl.store(_address(base, row, stride, column), value, mask=inside)


@triton.jit
@no_type_check
def store_halves(base, row, stride, column, ok, first, second, HALF: tl.constexpr):
    """The opposite of `load_halves`, in the dtype of the matrix."""
    store_rows(base, row, stride, column, ok, first.to(base.dtype.element_ty), HALF)
    store_rows(base + HALF, row, stride, column, ok, second.to(base.dtype.element_ty), HALF)


@triton.jit
@no_type_check
def add_rows(base, row, stride, column, ok, value, WIDTH: tl.constexpr):
    """Adds to rows that no other program writes at the same time; the sum is rounded once."""
    before = load_rows(base, row, stride, column, ok, WIDTH)
    store_rows(base, row, stride, column, ok, (before.to(value.dtype) + value).to(before.dtype), WIDTH)


@triton.jit
@no_type_check
def are_real(VALID, position, ok, HAS_VALID: tl.constexpr):
    """Which of the positions that are `ok` hold real tokens."""
    if HAS_VALID:
        ok = ok & (tl.load(VALID + position, mask=ok, other=0) != 0)
    return ok


@triton.jit
@no_type_check
def rotate(first, second, cos, sin):
    """The pairs (i, i + E/2) rotated by their angles."""
    return first * cos - second * sin, second * cos + first * sin


@triton.jit
@no_type_check
def load_halves(base, row, stride, column, ok, HALF: tl.constexpr):
    """The first and the second half of the columns of some rows."""
    return load_rows(base, row, stride, column, ok, HALF), load_rows(base + HALF, row, stride, column, ok, HALF)


@triton.jit
@no_type_check
def load_rotated(base, position, stride, column, ok, COS, SIN, HALF: tl.constexpr):
    """Both halves of queries or keys at their positions, rotated; zero where not `ok`."""
    first, second = load_halves(base, position, stride, column, ok, HALF)
    cos = load_rows(COS, position, HALF, column, ok, HALF)
    sin = load_rows(SIN, position, HALF, column, ok, HALF)
    first_out, second_out = rotate(first.to(cos.dtype), second.to(cos.dtype), cos, sin)
    return first_out.to(first.dtype), second_out.to(first.dtype)


@triton.jit
@no_type_check
def load_gates(BETA, m, M: tl.constexpr, HAS_BETA: tl.constexpr):
    """Logarithms of the hubs' gates; `LOW` where a hub is closed or only pads the tile."""
    if HAS_BETA:
        return tl.maximum(tl.load(BETA + m, mask=m < M, other=LOW), LOW)
    return tl.where(m < M, 0.0, LOW)


@triton.jit
@no_type_check
def fingerprints(q, hubs, gates, SCALE: tl.constexpr, WIDEN: tl.constexpr):
    """Softmax [C, M] of queries against normalised hubs; closed hubs get 0."""
    logits = dot(q, tl.trans(hubs), WIDEN) * SCALE + gates[None, :]
    weight = tl.exp(logits - tl.max(logits, 1)[:, None])
    return weight / tl.sum(weight, 1)[:, None]


@triton.jit
@no_type_check
def gate_of(score):
    """The factor on a token's value: sigmoid of its score."""
    return 1.0 / (1.0 + tl.exp(-score))


@triton.jit
@no_type_check
def load_chosen(CHOSEN, slot, K: tl.constexpr):
    """Positions of the selected tokens in some slots, and which of the slots are filled."""
    key = tl.load(CHOSEN + slot, mask=slot < K, other=EMPTY_KEY)
    filled = (key >> 32) > EMPTY
    position = (-(key & LAST) + LAST).to(tl.int32)
    return tl.where(filled, position, 0), filled


@triton.jit
@no_type_check
def earlier_sums(segment, SPAN: tl.constexpr):
    """How many sums make up what is before a segment: of each earlier block, then of segments of the own one."""
    return segment // SPAN + segment % SPAN


@triton.jit
@no_type_check
def earlier_sum(index, segment, SEGMENTS, SPAN: tl.constexpr):
    """The row of one of them, counted from that of the first segment; blocks come after the segments."""
    block = segment // SPAN
    return tl.where(index < block, SEGMENTS + index, block * SPAN + index - block)
