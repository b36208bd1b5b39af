"""A long sequence is routed piece by piece: the same function as in one piece, and as causal."""

from __future__ import annotations

import pytest
import torch
from hub_layers import Size, build, draw

from hubrouter import state
from hubrouter.state import block_lengths, piece_lengths

LONG = [Size(29, neighbours=2), Size(24, k=5), Size(23, chunk=3, k=2), Size(9, chunk=1), Size(30, k=64, chunk=8)]

each_size = pytest.mark.parametrize("size", LONG, ids=str)


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(state, "BLOCK", 8)


@pytest.mark.parametrize("length", [1, 3, 4, 8, 9, 21, 64])
@pytest.mark.parametrize("size", [0, 1, 3])
def test_every_piece_is_whole_chunks_or_belongs_to_one_chunk(length, size):
    lengths, seen = list(piece_lengths(length, size, 4)), size
    assert sum(lengths) == length
    for piece in lengths:
        assert (seen % 4 == 0 and piece % 4 == 0) or seen % 4 + piece <= 4
        seen += piece
    # What is longest is a block, or a chunk where that is longer.
    assert max(lengths) <= 8


def test_a_chunk_longer_than_a_block_is_one_piece():
    assert list(piece_lengths(70, 0, 32)) == block_lengths(70, 32) == [32, 32, 6]


@pytest.mark.parametrize("longer", range(1, 20))
def test_where_a_block_starts_depends_on_no_later_token(longer):
    short, long = block_lengths(21, 4), block_lengths(21 + longer, 4)
    assert (sum(short), sum(long)) == (21, 21 + longer)
    assert short[:-1] == long[: len(short) - 1] == [8, 8]


@each_size
def test_many_pieces_equal_one(size, monkeypatch):
    layer, weights = build(size), draw(size, seed=9)
    results = []
    for block in (8, 1024):
        monkeypatch.setattr(state, "BLOCK", block)
        x = draw(size).requires_grad_()
        layer.zero_grad()
        output = layer(x)
        (output * weights).sum().backward()
        results.append([output.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())])
    for many, one in zip(*results, strict=True):
        torch.testing.assert_close(many, one, rtol=0, atol=1e-11)


@torch.no_grad()
@each_size
def test_no_output_changes_when_anything_later_is_replaced(size):
    layer, x = build(size), draw(size)
    before, fresh = layer(x), draw(size, seed=1)
    for start in range(1, size.length):
        after = layer(torch.cat([x[:, :start], fresh[:, start:]], dim=1))
        assert torch.equal(after[:, :start], before[:, :start])
        assert not torch.equal(after[:, start:], before[:, start:])


@torch.no_grad()
@each_size
def test_the_padding_mask_holds_across_pieces(size, monkeypatch):
    layer, x = build(size), draw(size)
    valid = torch.rand(size.batch, size.length, generator=torch.Generator().manual_seed(2)) < 0.6
    many = layer(x, valid)
    monkeypatch.setattr(state, "BLOCK", 1024)
    torch.testing.assert_close(many, layer(x, valid), rtol=0, atol=1e-12)
