"""Streaming: pieces of any sizes equal one pass, in every precision, from a state that does not grow."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hub_layers import ABLATIONS, RAGGED, Size, build, draw
from torch import Tensor

from hubrouter import ConfigError


def stream(layer, x, sizes):
    """Outputs of all pieces together."""
    state, parts = None, []
    for piece in x.split(sizes, dim=1):
        output, state = layer.stream(piece, state)
        parts.append(output)
    return torch.cat(parts, dim=1)


def plans(length):
    """Piece sizes: one by one, a long prompt first, uneven, and all at once."""
    uneven, left = [], length
    while left:
        uneven.append(min(1 + len(uneven) * 2, left))
        left -= uneven[-1]
    half = length // 2
    return [[1] * length, [length - half, *[1] * half], uneven, [length]]


@torch.no_grad()
@pytest.mark.parametrize("size", RAGGED + [size for size in ABLATIONS if size.causal], ids=str)
def test_a_stream_in_pieces_equals_one_pass(size):
    layer, x = build(size), draw(size)
    whole = layer(x)
    for plan in plans(size.length):
        torch.testing.assert_close(stream(layer, x, plan), whole, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("cut", range(1, 13))
def test_a_stream_may_be_cut_anywhere(cut):
    size = Size(13, neighbours=2)
    layer, x = build(size), draw(size)
    torch.testing.assert_close(stream(layer, x, [cut, 13 - cut]), layer(x), rtol=0, atol=1e-12)


def test_gradients_flow_through_a_stream_as_through_one_pass():
    size = Size(13)
    layer = build(size)
    gradients = []
    for run in (layer, lambda x: stream(layer, x, [5, 1, 4, 3])):
        x = draw(size).requires_grad_()
        layer.zero_grad()
        run(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad.clone() for p in layer.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [13, 64])
def test_a_stream_is_as_exact_as_one_pass_in_lower_precision(dtype, length):
    # Every token has a slot: which tokens are read then hangs on no comparison of rounded scores, and all that can
    # differ is rounding. The distance of one pass from float64 measures the rounding.
    size = Size(length, k=64, d_model=16)
    layer = build(size, dtype)
    x = draw(size).to(dtype)
    exact = build(size, dtype).double()(x.double())
    noise = (layer(x).double() - exact).abs().max()
    assert 0 < noise < 64 * torch.finfo(dtype).eps * exact.abs().max()
    for plan in plans(length):
        assert (stream(layer, x, plan).double() - exact).abs().max() <= 4 * noise


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_output_has_the_dtype_of_the_input(dtype):
    size = Size(13)
    output, _ = build(size, dtype).stream(draw(size).to(dtype))
    assert output.dtype == dtype
    assert build(size, dtype)(draw(size).to(dtype)).dtype == dtype


def tensors(state):
    """All tensors of a state."""
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        yield from (value,) if isinstance(value, Tensor) else value if isinstance(value, tuple) else ()


def bytes_kept(state):
    """Bytes of all storages a state keeps alive, views at their full size."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors(state) if t.numel()}
    return sum(storages.values())


@torch.no_grad()
@pytest.mark.parametrize("length", [16, 64, 1024])
@pytest.mark.parametrize("extra", [0, 3])
def test_the_state_does_not_grow_with_the_sequence(length, extra):
    size = Size(length, neighbours=2)
    layer = build(size)
    reference = layer.stream(draw(size, length=8 + extra))[1]
    state = layer.stream(draw(size, length=length + extra))[1]
    # Positions are a Python number; everything else has the size of its own contents.
    assert bytes_kept(state) == bytes_kept(reference)
    assert bytes_kept(state) == sum(t.numel() * t.element_size() for t in tensors(state))


@torch.no_grad()
def test_the_state_does_not_grow_while_decoding():
    size = Size(1)
    layer, state, kept = build(size), None, []
    for step in range(64):
        _, state = layer.stream(draw(size, seed=step), state)
        kept.append(bytes_kept(state))
    assert kept[4:8] == kept[60:64]
    assert state.position == 64


@torch.no_grad()
def test_the_state_has_the_documented_size():
    size = Size(4 * 5 + 3, neighbours=2, batch=2)
    state = build(size).stream(draw(size))[1]
    b, h, m, e, k, open_tokens = 2, size.n_heads, size.n_hubs, size.d_model // size.n_heads, size.k, 3
    numbers = b * (h * m * (e + 2) + k + 2 * h * k * e + size.neighbours + 2 * h * open_tokens * e + open_tokens)
    assert bytes_kept(state) == 8 * numbers + b * open_tokens  # float64, and a boolean a token of the open chunk


@torch.no_grad()
def test_streaming_does_not_modify_its_input_state():
    size = Size(9)
    layer = build(size)
    _, state = layer.stream(draw(size))
    before = [t.clone() for t in tensors(state)]
    first = layer.stream(draw(size, seed=1), state)[0]
    assert torch.equal(layer.stream(draw(size, seed=1), state)[0], first)
    assert all(torch.equal(a, b) for a, b in zip(before, tensors(state), strict=True))


def test_a_bidirectional_layer_cannot_stream():
    size = Size(4, causal=False)
    with pytest.raises(ConfigError, match=r"^a bidirectional HubRouter cannot stream: build it with causal=True$"):
        build(size).stream(draw(size))
