"""What a layer's definition demands: operations and traffic, from which the time follows that nothing can beat.

The formulas are derived in docs/benchmarks.md. A matrix of P weights costs 2P operations a token. Tensors that stay on
the chip are not counted; those between two kernels at least are written once and read once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PASSES = ("forward", "forward+backward", "decode")
BACKWARD = 2  # a backward pass has two products for each one of the forward pass


@dataclass(frozen=True)
class Shape:
    """The sizes that all layers of a comparison share.

    Attributes:
        d_model: width D of the tokens.
        n_heads: heads H of attention, window and HubRouter.
        n_hubs: hubs M.
        k: tokens K selected for the council.
        chunk: chunk size C.
        batch: sequences B in a step.
        dtype: of weights and tokens, a name in torch.
    """

    d_model: int
    n_heads: int
    n_hubs: int
    k: int
    chunk: int
    batch: int
    dtype: str

    @property
    def window(self) -> int:
        """Tokens that a sliding window reads: as many as a query of HubRouter's council."""
        return self.k + self.chunk

    @property
    def item(self) -> int:
        """Bytes of a number."""
        return 2 if self.dtype in ("bfloat16", "float16") else 4


@dataclass(frozen=True)
class Demand:
    """What one sequence demands of a layer, apart from its D numbers in and D numbers out a token.

    Attributes:
        weights: numbers in its matrices.
        inner: numbers a token that one kernel writes and the next one reads.
        gathered: numbers a token that are read once more, such as selected keys and values.
        mixing: operations that mix n tokens with each other, forward; those of `weights` are not among them.
        step: the same for the token at position n in a decode step.
        state: bytes of state that this step reads and writes.
    """

    weights: int
    inner: float = 0.0
    gathered: float = 0.0
    mixing: Callable[[int], float] = lambda _n: 0.0
    step: Callable[[int], float] = lambda _n: 0.0
    state: Callable[[int], float] = lambda _n: 0.0


@dataclass(frozen=True)
class Work:
    """Operations and bytes of one step; `core_bytes` are those of the mixing alone, without the projections."""

    flops: float
    bytes: float
    core_bytes: float | None = None

    def seconds(self, flop_rate: float, byte_rate: float) -> float:
        """The least time at these measured rates a second."""
        return max(self.flops / flop_rate, self.bytes / byte_rate)


def work(demand: Demand, shape: Shape, n: int, passes: str) -> Work:
    """What a step over B sequences of n tokens demands; in `decode`, over one token each at position n."""
    rows, item, outer = shape.batch, shape.item, 2 * shape.d_model
    if passes == "decode":
        traffic = item * (demand.weights + rows * (outer + 2 * demand.inner)) + rows * demand.state(n)
        return Work(rows * (2 * demand.weights + demand.step(n)), traffic)
    tokens = rows * n
    flops = 2 * tokens * demand.weights + rows * demand.mixing(n)
    if passes == "forward":
        numbers = tokens * (outer + 2 * demand.inner + demand.gathered) + demand.weights
        return Work(flops, item * numbers, item * tokens * (demand.inner + demand.gathered))
    # Backward reads x and the gradient of y and writes that of x; inner tensors are read again, their gradients go both
    # ways; weights are read again, their gradients written.
    outer, inner = 5 * shape.d_model, 5 * demand.inner
    numbers = tokens * (outer + inner + (1 + BACKWARD) * demand.gathered) + (1 + BACKWARD) * demand.weights
    return Work((1 + BACKWARD) * flops, item * numbers)


def attention(shape: Shape) -> Demand:
    """Causal attention: every token reads n / 2 others on average, and all n in a decode step."""
    d = shape.d_model
    return Demand(
        weights=4 * d * d,
        inner=4 * d,
        mixing=lambda n: 2.0 * n * n * d,
        step=lambda n: 4.0 * n * d,
        state=lambda n: 2.0 * n * d * shape.item,
    )


def hub(shape: Shape, council: str = "selected+chunk", *, readout: bool = True) -> Demand:
    """HubRouter: three or four products with M hubs, the score head, and the K selected and C own keys it reads."""
    d, m, h, c = shape.d_model, shape.n_hubs, shape.n_heads, shape.chunk
    k, own = 0 if council == "chunk" else shape.k, 0 if council == "selected" else c
    hubs = (8.0 if readout else 6.0) * m * d + 2 * h * m
    return Demand(
        weights=4 * d * d,
        inner=4 * d,
        gathered=2 * d * k / c,
        mixing=lambda n: n * (hubs + 4 * d * (k + own)),
        step=lambda _n: hubs + 4 * d * (k + own / 2),
        state=lambda _n: 2.0 * d * (k + c / 2) * shape.item + 4.0 * m * d,
    )


def window(shape: Shape) -> Demand:
    """A sliding window of W tokens, the own one included."""
    d, w = shape.d_model, shape.window
    return Demand(
        weights=4 * d * d,
        inner=4 * d,
        mixing=lambda n: 4.0 * d * (n * w - w * (w - 1) / 2 if n >= w else n * (n + 1) / 2),
        step=lambda n: 4.0 * d * min(n, w),
        state=lambda n: 2.0 * d * min(n, w) * shape.item,
    )


def projections(shape: Shape) -> Demand:
    """The four projections that attention, window and HubRouter share, and nothing between them."""
    return Demand(weights=4 * shape.d_model**2, inner=4 * shape.d_model)


def mamba(shape: Shape, states: int, taps: int) -> Demand:
    """Mamba of inner width 2D with S states a channel, a convolution of `taps` tokens, its state in 32 bits."""
    inner, rank = 2 * shape.d_model, -(-shape.d_model // 16)
    a_token = inner * (2.0 * taps + 6.0 * states)
    return Demand(
        weights=3 * shape.d_model * inner + inner * (rank + 2 * states),
        inner=3 * inner,
        mixing=lambda n: n * a_token,
        step=lambda _n: a_token,
        state=lambda _n: 2.0 * 4 * inner * states,
    )


def prefix_sums(shape: Shape, features: int, *, directions: bool = False) -> Demand:
    """Linear attention of F features a head: the sums of k v^T, in 32 bits, and their products with q.

    With `directions` the features are products with as many directions themselves (Performer).
    """
    d = shape.d_model
    a_token = (8.0 if directions else 4.0) * d * features
    return Demand(
        weights=4 * d * d,
        inner=4 * d,
        mixing=lambda n: n * a_token,
        step=lambda _n: a_token,
        state=lambda _n: 2.0 * 4 * d * features,
    )
