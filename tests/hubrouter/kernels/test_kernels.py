"""The Triton kernels equal the reference in outputs and all gradients; on the CPU through Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, no_type_check

import pytest
import torch
import triton
import triton.language as tl
from hub_layers import ABLATIONS, Size, build, draw
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hubrouter import HubRouter
from hubrouter.kernels.plan import Plan, padded
from hubrouter.kernels.route import by_token, route
from hubrouter.kernels.selection import merge
from hubrouter.kernels.tiles import EMPTY_KEY
from hubrouter.select import NO_CLAIM
from hubrouter.state import RouterState

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Sizes at which something can go wrong: a piece of a chunk, chunks of one token, one hub, more slots than tokens, two
# segments of chunks, several tiles of selected tokens, tiles that are no power of two, wide heads, many hubs.
SIZES = [
    Size(1),
    Size(5, batch=1),
    Size(13, neighbours=2),
    Size(9, chunk=1, k=1, batch=1, n_heads=1),
    Size(7, chunk=64),
    Size(13, n_hubs=1, k=64),
    Size(28, chunk=3, k=5, d_model=64, batch=1),
    Size(21, chunk=16, k=80, d_model=64, n_heads=1, batch=1, neighbours=0),
    Size(23, chunk=20, k=17, d_model=96, n_heads=2, batch=1, n_hubs=17),
    Size(20, chunk=8, k=4, d_model=128, n_heads=1, batch=1, n_hubs=64),
]
ORDINARY, SEGMENTS, ODD = SIZES[2], SIZES[6], SIZES[8]
STREAMED = [replace(size, batch=1, length=7) for size in ABLATIONS if size.causal]
# As published: shorter than a chunk, more slots than tokens, an own segment for what comes after the whole, one hub.
BIDIRECTIONAL = [
    replace(size, causal=False)
    for size in (Size(1), Size(5, batch=1, k=9), Size(24, chunk=3, k=5, batch=1, neighbours=2), Size(13, n_hubs=1), ODD)
]


def layer_of(size: Size, dtype: torch.dtype = torch.float64) -> HubRouter:
    """A layer whose scores differ enough to distinguish tokens."""
    layer = build(size, dtype).to(DEVICE)
    with torch.no_grad():
        layer.score.head.weight.mul_(3)
    return layer


def results(layer: HubRouter, x: Tensor, valid: Tensor | None = None) -> dict[str, Tensor]:
    """Output and all gradients of a fixed combination of outputs; zero where nothing depends on a weight."""
    x = x.detach().requires_grad_()
    layer.zero_grad()
    y = layer(x, valid)
    (y * torch.linspace(-1, 1, y.numel(), device=y.device).view_as(y).to(y.dtype)).sum().backward()
    parts = {"y": y, "x": x.grad} | {name: weight.grad for name, weight in layer.named_parameters()}
    unread = {name: torch.zeros_like(weight) for name, weight in layer.named_parameters()}
    return {name: (unread[name] if part is None else part).detach().clone() for name, part in parts.items()}


def pair(size: Size, x: Tensor, valid: Tensor | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Results of the reference and of the kernels with the same weights."""
    layer = layer_of(size, x.dtype)
    expected = results(layer, x, valid)
    layer.impl = "triton"
    return expected, results(layer, x, valid)


def inputs(size: Size, dtype: torch.dtype = torch.float64) -> Tensor:
    return draw(size).to(DEVICE, dtype)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], parts: float) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        scale = expected[name].abs().max().clamp_min(1e-3)  # a gradient may vanish: of one hub every score is the bias
        assert float((found[name] - expected[name]).abs().max()) <= parts * scale, name


@pytest.mark.parametrize("size", SIZES + BIDIRECTIONAL, ids=str)
def test_outputs_and_all_gradients_equal_the_reference(size: Size) -> None:
    expected, found = pair(size, inputs(size))
    assert_equal(found, expected, 1e-12)  # float64 on both sides: some hundred roundings of 1e-16


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contributions to one chunk are summed in pieces of three."""
    monkeypatch.setattr("hubrouter.kernels.plan.PIECE", 3)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("size", [Size(17, chunk=3), replace(ORDINARY, causal=False)], ids=str)
def test_contributions_to_a_token_that_many_chunks_select_are_summed_in_pieces(
    size: Size, poisoned: Callable[[], None]
) -> None:
    layer, x = layer_of(size), inputs(size)
    expected = results(layer, x)
    layer.impl = "triton"
    poisoned()
    found = results(layer, x)
    assert_equal(found, expected, 1e-12)
    assert_equal(results(layer, x), found, 0.0)


def test_selected_tokens_are_listed_by_chunk() -> None:
    gen = torch.Generator().manual_seed(0)
    token = torch.randint(0, 20, (2, 7, 3), generator=gen)
    chosen = (5 << 32) | (0x7FFFFFFF - token)
    chosen[0, 1:3] = -(1 << 63)  # empty slots
    ordered, order, starts = by_token(chosen, 4)
    for b in range(2):
        for g in range(7):
            slots = order[b, starts[b, g] : starts[b, g + 1]]
            inside = (token[b].flatten() // 4 == g) & (chosen[b].flatten() >= 0)
            assert sorted(slots.tolist()) == inside.nonzero().flatten().tolist()
            assert torch.equal(token[b].flatten()[slots], ordered[b, starts[b, g] : starts[b, g + 1]])


def test_bfloat16_results_equal_those_of_float32_up_to_rounding() -> None:
    size = Size(9, chunk=3, k=4, d_model=64, n_heads=1, batch=1)
    layer, x = layer_of(size, torch.bfloat16), inputs(size, torch.bfloat16)
    layer.impl = "triton"
    found = results(layer, x)
    assert_equal({name: part.float() for name, part in found.items()}, results(layer.float(), x.float()), 0.05)


def test_float16_gradients_may_have_a_statistic_beyond_its_range() -> None:
    size = Size(9, chunk=16, d_model=32, batch=1)
    layer = layer_of(size, torch.float16)
    torch.nn.init.zeros_(layer.score.head.weight)
    qkv = (inputs(replace(size, d_model=96)) / 30).to(torch.float16).view(1, 9, 3, 2, 16)
    qkv[:, :, 2] *= 900  # products with values are large, and with queries and keys small
    layer.impl, qkv = "triton", qkv.requires_grad_()
    gradients = []
    for scale in (1.0, 16384.0):  # of the loss
        (gradient,) = torch.autograd.grad(between(layer, qkv)[0], qkv, torch.full((1, 9, 2, 16), scale).to(qkv))
        gradients.append(gradient.double() / scale)
    assert_equal({"qkv": gradients[1]}, {"qkv": gradients[0]}, 0.01)


class Ignored(torch.autograd.Function):
    """The identity, through which no gradient flows."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, __: Tensor) -> None:
        return None


def test_an_output_without_a_gradient_gives_none() -> None:
    layer, x = layer_of(ORDINARY), inputs(ORDINARY)
    qkv = layer.project(x).view(*x.shape[:2], 3, 2, 4).detach().requires_grad_()
    Ignored.apply(between(layer, qkv)[0]).sum().backward()
    assert qkv.grad is None
    assert layer.encode.hubs.grad is None


def test_kernels_are_launched_on_the_device_of_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[Tensor] = []

    @contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        current.append(tensor)
        yield
        current.pop()

    def launched(*_: Any, **__: Any) -> None:
        outside.append(not current)

    outside: list[bool] = []
    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    monkeypatch.setattr("triton.runtime.interpreter.InterpretedFunction.run", launched)
    layer, x = layer_of(ORDINARY), inputs(ORDINARY)
    layer.impl = "triton"
    layer(x).sum().backward()
    assert outside
    assert not any(outside)


@pytest.mark.parametrize("size", ABLATIONS, ids=str)
def test_what_is_switched_off_equals_the_reference_with_padding(size: Size) -> None:
    x, valid = inputs(size), torch.rand(2, size.length, generator=torch.Generator().manual_seed(1)).to(DEVICE) > 0.2
    assert_equal(*reversed(pair(size, x, valid)), 1e-12)


@pytest.mark.parametrize("size", [ORDINARY, SEGMENTS, replace(ORDINARY, causal=False)], ids=str)
def test_padding_is_not_read_and_gets_no_gradient(size: Size) -> None:
    x = inputs(size)
    valid = torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(1)).to(DEVICE) > 0.4
    valid[0] = False
    x = x.masked_fill(~valid[..., None], float("nan"))
    expected, found = pair(size, x, valid)
    assert not found["y"][~valid].any()
    assert_equal(found, expected, 1e-12)


def kernel_selection(layer: HubRouter, x: Tensor) -> Tensor:
    """Keys of the tokens that the kernels select, [B, G, K]."""
    return between(layer, layer.project(x).view(*x.shape[:2], 3, layer.config.n_heads, layer.config.head_width))[5]


def between(layer: HubRouter, qkv: Tensor) -> tuple[Tensor, ...]:
    """All that the operator between the projections gives."""
    config, head = layer.config, layer.score.head
    settings = (config.slots, config.chunk, config.neighbours, config.rope_base, config.causal)
    return route(qkv, layer.encode.hubs, head.weight, head.bias, None, *settings)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A switch: from then on every buffer that kernels fill begins as NaN, or as the largest integer."""

    def poison() -> None:
        empty, empty_like = torch.empty, torch.empty_like
        monkeypatch.setattr(torch, "empty", lambda *a, **k: spoil(empty(*a, **k)))
        monkeypatch.setattr(torch, "empty_like", lambda *a, **k: spoil(empty_like(*a, **k)))

    return poison


def spoil(buffer: Tensor) -> Tensor:
    if buffer.dtype == torch.bool:
        return buffer.fill_(False)
    return buffer.fill_(float("nan") if buffer.is_floating_point() else torch.iinfo(buffer.dtype).max)


@pytest.mark.parametrize("size", [ORDINARY, SEGMENTS, replace(ORDINARY, causal=False)], ids=str)
def test_an_uninitialised_buffer_is_never_read(size: Size, poisoned: Callable[[], None]) -> None:
    layer, x = layer_of(size), inputs(size)
    layer.impl = "triton"
    before = results(layer, x)
    poisoned()
    assert_equal(results(layer, x), before, 0.0)


@pytest.mark.parametrize("size", [SEGMENTS, BIDIRECTIONAL[2]], ids=str)
def test_several_blocks_of_segments_equal_the_reference(
    size: Size, monkeypatch: pytest.MonkeyPatch, poisoned: Callable[[], None]
) -> None:
    monkeypatch.setattr("hubrouter.kernels.plan.SPAN", 2)  # blocks of 4 chunks
    layer, x = layer_of(size), inputs(size)
    expected = results(layer, x)
    layer.impl = "triton"
    poisoned()
    assert_equal(results(layer, x), expected, 1e-12)


def test_two_runs_are_equal_bit_for_bit() -> None:
    size = replace(SEGMENTS, k=9)
    layer = layer_of(size, torch.float32)
    layer.impl = "triton"
    x = inputs(size, torch.float32)
    first, second = results(layer, x), results(layer, x)
    assert all(torch.equal(first[name], second[name]) for name in first)


# 11 chunks are two segments of one block, or six segments of three blocks, whose borders are at 8 and 16.
@pytest.mark.parametrize(("span", "cuts"), [(8, (1, 2, 7, 16, 17, 18, 21)), (2, (7, 8, 17))])
def test_no_output_changes_by_a_bit_when_later_tokens_change_or_are_cut_off(
    span: int, cuts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubrouter.kernels.plan.SPAN", span)
    size = Size(22, chunk=2, k=3, d_model=32, n_heads=1, batch=1)
    layer, gen = layer_of(size), torch.Generator().manual_seed(0)
    qkv = torch.randn(1, size.length, 3, 1, 32, generator=gen, dtype=torch.float64).to(DEVICE)
    whole = between(layer, qkv)[0]
    for cut in cuts:
        other = qkv.clone()
        other[:, cut:] = -7 * other[:, cut:]
        changed = between(layer, other)[0]
        assert torch.equal(changed[:, :cut], whole[:, :cut])
        assert not torch.equal(changed[:, cut:], whole[:, cut:])
        assert torch.equal(between(layer, qkv[:, :cut])[0], whole[:, :cut])


@torch.no_grad()
@pytest.mark.parametrize(
    "size", [ORDINARY, Size(12, chunk=3, k=2, batch=1), Size(5, chunk=1, batch=1), *STREAMED], ids=str
)
def test_streams_in_pieces_equal_one_pass_and_leave_the_state_of_the_reference(size: Size) -> None:
    layer, x = layer_of(size), inputs(size)
    for pieces in ([1] * size.length, [5, 1, size.length - 6] if size.length > 6 else [2, 3], [size.length]):
        ended = {}
        for layer.impl in ("reference", "triton"):
            outputs, state = [], None
            for piece in x.split(pieces, dim=1):
                y, state = layer.stream(piece, state)
                outputs.append(y)
            assert float((torch.cat(outputs, dim=1) - layer(x)).abs().max()) < 1e-12
            ended[layer.impl] = state
        assert_same_state(ended["triton"], ended["reference"])


@torch.no_grad()
def test_a_state_may_be_continued_twice(poisoned: Callable[[], None]) -> None:
    layer, x = layer_of(ORDINARY), inputs(ORDINARY)
    expected = layer(x[:, :8])
    layer.impl = "triton"
    _, opened = layer.stream(x[:, :5])
    poisoned()
    first, one = layer.stream(x[:, 5:6], opened)
    layer.stream(-x[:, 5:7], opened)
    rest, _ = layer.stream(x[:, 6:8], one)
    assert float((torch.cat([first, rest], dim=1) - expected[:, 5:]).abs().max()) < 1e-12


class Recorder(TorchDispatchMode):
    """Lists torch's operations; not views, allocations and what concerns dtypes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func.overloadpacket.__name__ not in ("empty", "_unsafe_view", "promote_types"):
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


class Launch:
    """Instead of a kernel: notes that it is launched."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *_, **__: self.names.append("kernel")


@torch.no_grad()
def test_a_decode_step_is_two_products_and_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = layer_of(ORDINARY), inputs(ORDINARY)
    layer.impl = "triton"
    _, state = layer.stream(x[:, :5])
    layer.stream(x[:, 5:6], state)  # computes the angles, which are kept
    with Recorder() as recorder:
        monkeypatch.setattr("hubrouter.kernels.stream.attend_step", Launch(recorder.names))
        layer.stream(x[:, 5:6], state)
    assert recorder.names == ["mm", "kernel", "mm"]


def assert_same_state(found: RouterState, expected: RouterState) -> None:
    assert found.position == expected.position
    filled = expected.claim != NO_CLAIM  # the content of an empty slot is arbitrary
    for name in ("claim", "recent", "open_k", "open_v", "open_score", "open_valid"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-12)
    for name in ("selected_k", "selected_v"):
        torch.testing.assert_close(getattr(found, name)[filled], getattr(expected, name)[filled], rtol=0, atol=1e-12)
    averages = [s.summary.weighted / s.summary.total[..., None] for s in (found, expected)]
    torch.testing.assert_close(*averages, rtol=0, atol=1e-12)


def test_scores_that_are_equal_prefer_the_lower_position() -> None:
    size = Size(24, chunk=4, k=3, n_hubs=1, d_model=32)  # one hub: every score is the bias
    filled = kernel_selection(layer_of(size), inputs(size))[:, 1:]
    position = 0x7FFFFFFF - (filled & 0x7FFFFFFF)
    assert position.tolist() == [[[0, 1, 2]] * 5] * 2


@triton.jit
@no_type_check
def merge_lists(FIRST, SECOND, BEST, WIDE: tl.constexpr):  # noqa: N803 - as kernels name them
    i = tl.arange(0, WIDE)
    tl.store(BEST + i, merge(tl.load(FIRST + i), tl.load(SECOND + i), WIDE))


@pytest.mark.parametrize("wide", [16, 32, 64, 128, 256, 512, 1024])
@pytest.mark.parametrize("values", [2, 1 << 40], ids=["ties", "distinct"])
def test_two_lists_merge_into_the_best_of_both_in_order(wide: int, values: int) -> None:
    keys = torch.randint(-values, values, (2, wide), generator=torch.Generator().manual_seed(wide))
    keys[1, wide // 2 :] = EMPTY_KEY.value
    for first, second in (keys, keys.flip(0), keys.sort().values):
        first, second = (part.sort(descending=True).values.to(DEVICE) for part in (first, second))
        best = torch.zeros_like(first)
        merge_lists[(1,)](first, second, best, WIDE=wide)
        assert torch.equal(best, torch.cat([first, second]).sort(descending=True).values[:wide])


def test_float16_gradients_of_hub_sums_beyond_its_range_equal_those_of_float32() -> None:
    gen = torch.Generator().manual_seed(0)
    draw_normal = partial(torch.randn, generator=gen)
    base, qkv = draw_normal(16), draw_normal(1, 9, 3, 1, 16)
    # Hubs that differ by little and see no token well: gradients of their sums exceed what float16 can represent.
    hubs = base + draw_normal(1, 3, 16) / 16
    qkv[:, :, 1] = qkv[:, :, 1] / 16 - 32 * base / base.square().sum()
    weight, d_mixed = draw_normal(1, 3), (draw_normal(1, 9, 1, 16) * 2**12).half()
    found = {}
    for dtype in (torch.float32, torch.float16):
        leaf, own = qkv.half().to(DEVICE, dtype).requires_grad_(), hubs.to(DEVICE).requires_grad_()
        mixed = route(leaf, own, weight.to(DEVICE), torch.zeros(1, device=DEVICE), None, 3, 4, 1, 1e4, True)[0]
        mixed.backward(d_mixed.to(DEVICE, dtype))
        found[dtype] = {"qkv": leaf.grad.float(), "hubs": own.grad}
    assert_equal(found[torch.float16], found[torch.float32], 2e-2)


def test_under_autocast_the_layer_computes_in_low_precision() -> None:
    size = Size(13, d_model=32)
    layer, x = layer_of(size, torch.float32), inputs(size, torch.float32)
    layer.impl = "triton"
    with torch.autocast(DEVICE, torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.encode.hubs.grad is not None
    assert layer.encode.hubs.grad.dtype == torch.float32


@pytest.mark.parametrize(("size", "to"), [(1, 16), (16, 16), (17, 32), (128, 128), (129, 256)])
def test_tiles_are_powers_of_two_that_tensor_cores_take(size: int, to: int) -> None:
    assert padded(size) == to


def test_every_chunk_belongs_to_one_segment_and_block() -> None:
    plan = Plan(1, 8 * 17 + 1, 1, 32, 8, 4, 1, 1, 1e4, True, False, torch.float32, False)
    assert (plan.chunks, plan.segments, plan.blocks, plan.sums) == (137, 18, 3, 157)
