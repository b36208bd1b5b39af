"""Padding: it is never read, its outputs are zero, and it breaks nothing."""

from __future__ import annotations

import pytest
import torch
from hub_layers import ABLATIONS, Size, build, draw

ORDINARY = [Size(13), Size(13, neighbours=2, chunk=3), Size(13, k=64), Size(13, n_hubs=1), Size(13, causal=False)]
SIZES = ORDINARY + [size for size in ABLATIONS if size.length > size.chunk]
CAUSAL = [size for size in SIZES if size.causal]

each_size = pytest.mark.parametrize("size", SIZES, ids=str)


def scattered(size, seed=1):
    """About a third of the tokens is padding, and the first three of row 0."""
    valid = torch.rand(size.batch, size.length, generator=torch.Generator().manual_seed(seed)) < 0.7
    valid[0, :3] = False
    return valid


@torch.no_grad()
@each_size
@pytest.mark.parametrize("real", [1, 4, 5, 12])
def test_right_padding_changes_nothing(size, real):
    layer, x = build(size), draw(size)
    valid = torch.arange(size.length).expand(size.batch, -1) < real
    torch.testing.assert_close(layer(x, valid)[:, :real], layer(x[:, :real]), rtol=0, atol=1e-12)


@torch.no_grad()
@each_size
def test_rows_of_different_lengths_equal_single_rows(size):
    layer, x = build(size), draw(size)
    lengths = [5, 11]
    valid = torch.stack([torch.arange(size.length) < length for length in lengths])
    together = layer(x, valid)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(together[row, :length], layer(x[row : row + 1, :length])[0], rtol=0, atol=1e-12)


@torch.no_grad()
@each_size
def test_all_real_is_the_same_as_no_padding(size):
    layer, x = build(size), draw(size)
    assert torch.equal(layer(x, torch.ones(size.batch, size.length, dtype=torch.bool)), layer(x))


@torch.no_grad()
@each_size
@pytest.mark.parametrize("content", [0.0, 1e30, float("inf"), float("nan")])
def test_the_content_of_padding_never_matters(size, content):
    layer, x, valid = build(size), draw(size), scattered(size)
    filled = torch.where(valid[..., None], x, content)
    assert torch.equal(layer(filled, valid), layer(x, valid))


@torch.no_grad()
@each_size
def test_outputs_at_padding_are_zero_and_others_are_not(size):
    layer, x, valid = build(size), draw(size), scattered(size)
    size_of = layer(x, valid).abs().amax(-1)
    assert not size_of[~valid].any()
    assert size_of[valid].all() or size.silent  # behind padding nothing can be selected


@torch.no_grad()
@each_size
def test_without_a_mask_padding_matters(size):
    layer, x, valid = build(size), draw(size), scattered(size)
    assert (layer(x, valid) - layer(x))[valid].abs().max() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("size", CAUSAL, ids=str)
def test_left_padding_is_causal(size):
    layer, x, valid = build(size), draw(size), scattered(size)
    before = layer(x, valid)
    for cut in range(1, size.length):
        changed, real = x.clone(), valid.clone()
        changed[:, cut:] *= -100
        real[:, cut:] = ~real[:, cut:]
        assert torch.equal(layer(changed, real)[:, :cut], before[:, :cut])


@each_size
def test_a_row_of_padding_alone_is_zero_and_has_finite_gradients(size):
    layer = build(size)
    x = draw(size).requires_grad_()
    valid = torch.ones(size.batch, size.length, dtype=torch.bool)
    valid[0] = False
    output = layer(x, valid)
    output.square().sum().backward()
    assert not output[0].any()
    assert output[1, size.silent :].abs().amax(-1).all()
    assert not x.grad[0].any()
    assert all(p.grad.isfinite().all() for p in (x, *layer.parameters()) if p.grad is not None)


@torch.no_grad()
@each_size
def test_padding_in_one_row_does_not_affect_another(size):
    layer, x, valid = build(size), draw(size), scattered(size)
    valid[1] = True
    torch.testing.assert_close(layer(x, valid)[1], layer(x)[1], rtol=0, atol=1e-12)
