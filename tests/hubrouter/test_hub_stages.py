"""The stages of the layer, each against brute force; its configuration; and the run-time shape checks."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from hub_layers import Size, build, draw
from torch import Tensor

from hubrouter import ConfigError, ModelConfig, RouterConfig
from hubrouter.council import Council, Members, Selected, Tokens
from hubrouter.encode import Encode, Summary, combine, prefixes
from hubrouter.rotary import rotate, rotation
from hubrouter.scan import inclusive_scan
from hubrouter.score import Score
from hubrouter.select import GRID, NO_CLAIM, Chosen, Select


class Affine(NamedTuple):
    """Maps y = slope y + offset: their composition is associative but does not commute."""

    slope: Tensor
    offset: Tensor


def compose(earlier: Affine, later: Affine) -> Affine:
    return Affine(later.slope * earlier.slope, later.slope * earlier.offset + later.offset)


def affine(length):
    gen = torch.Generator().manual_seed(length)
    return Affine(*(torch.randn(2, length, 3, generator=gen, dtype=torch.float64) for _ in range(2)))


@pytest.mark.parametrize("length", range(1, 21))
def test_the_scan_equals_a_loop(length):
    items = affine(length)
    scanned, total = inclusive_scan(compose, items), None
    for index in range(length):
        item = Affine(*(part[:, index] for part in items))
        total = item if total is None else compose(total, item)
        for part, wanted in zip(scanned, total, strict=True):
            torch.testing.assert_close(part[:, index], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", range(2, 21))
def test_a_longer_scan_does_not_change_a_bit_of_the_prefixes_before(length):
    items = affine(length)
    whole = inclusive_scan(compose, items)
    shorter = inclusive_scan(compose, Affine(*(part[:, :-1] for part in items)))
    assert all(torch.equal(a[:, :-1], b) for a, b in zip(whole, shorter, strict=True))


def test_a_scan_combines_each_entry_a_bounded_number_of_times():
    combined = 0

    def counted(earlier: Affine, later: Affine) -> Affine:
        nonlocal combined
        combined += earlier.slope.shape[1]
        return compose(earlier, later)

    inclusive_scan(counted, affine(1024))
    assert combined < 2 * 1024


def chunked_claims(chunks, chunk, levels, seed):
    """Claims [2, G, C] with many ties, and some tokens that are padding."""
    gen = torch.Generator().manual_seed(seed)
    claim = torch.randint(levels, (2, chunks, chunk), generator=gen).double()
    return claim.masked_fill(torch.rand(claim.shape, generator=gen) < 0.2, NO_CLAIM)


@pytest.mark.parametrize("k", [1, 3, 8, 40])
@pytest.mark.parametrize(("chunks", "chunk"), [(1, 4), (5, 3), (6, 4), (9, 1)])
@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_the_running_top_k_is_the_top_k_of_every_prefix(k, chunks, chunk, levels):
    claim = chunked_claims(chunks, chunk, levels, seed=k + chunks)
    empty = Chosen(torch.full((2, 1, k), NO_CLAIM, dtype=torch.float64), torch.zeros(2, 1, k, dtype=torch.long))
    chosen = Select(RouterConfig(8, k=k, chunk=chunk))(claim, empty, first=100)
    assert chosen.claim.shape == (2, chunks + 1, k)
    for row in range(2):
        for border in range(chunks + 1):
            seen = claim[row, :border].flatten().tolist()
            best = sorted((-value, 100 + i) for i, value in enumerate(seen) if value != NO_CLAIM)[:k]
            found = zip((-chosen.claim[row, border]).tolist(), chosen.token[row, border].tolist(), strict=True)
            assert [pair for pair in found if pair[0] != -NO_CLAIM] == best


@torch.no_grad()
@pytest.mark.parametrize(("chunks", "chunk"), [(1, 4), (5, 3), (9, 1)])
def test_the_hub_prefix_is_the_softmax_average_of_every_prefix(chunks, chunk):
    torch.manual_seed(0)
    encode = Encode(RouterConfig(8, n_heads=2, n_hubs=3)).double()
    k, v = (4 * torch.randn(2, chunks, 2, chunk, 4, dtype=torch.float64) for _ in range(2))
    valid = torch.rand(2, chunks, chunk) < 0.7
    prefix = encode(k, v, valid, encode.start(2))
    for row in range(2):
        for border in range(chunks + 1):
            real = valid[row, :border].flatten()
            keys, values = (t[row, :border].transpose(0, 1).flatten(1, 2)[:, real] for t in (k, v))
            logits = torch.cat([torch.zeros(2, 3, 1), torch.einsum("hme,hte->hmt", encode.hubs, keys) / 2], dim=-1)
            wanted = torch.einsum("hmt,hmte->hme", logits.softmax(-1), _with_own(encode.hubs, values))
            hubs = prefix.weighted[row, border] / prefix.total[row, border][..., None]
            torch.testing.assert_close(hubs, wanted, rtol=0, atol=1e-12)


def summaries(chunks):
    """Random summaries of `chunks` chunks after one of what was before, [2, 1 + G, 2, 3(, 4)]."""
    gen = torch.Generator().manual_seed(chunks)
    shape = (2, 1 + chunks, 2, 3)
    peak, total = torch.randn(shape, generator=gen).double(), torch.rand(shape, generator=gen).double()
    return Summary(4 * peak, total, torch.randn(*shape, 4, generator=gen).double())


def cut(summary, *index):
    return Summary._make(part[:, slice(*index)] for part in summary)


@pytest.mark.parametrize("chunks", [1, 2, 7, 16])
def test_prefixes_are_combined_from_left_to_right(chunks):
    items = summaries(chunks)
    found, total = prefixes(cut(items, 0, 1), cut(items, 1, None)), cut(items, 0, 1)
    for border in range(1 + chunks):
        total = combine(total, cut(items, border, border + 1)) if border else total
        for part, wanted in zip(cut(found, border, border + 1), total, strict=True):
            torch.testing.assert_close(part, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunks", [2, 7, 16])
def test_more_chunks_do_not_change_a_bit_of_the_prefixes_before(chunks):
    items = summaries(chunks)
    whole = prefixes(cut(items, 0, 1), cut(items, 1, None))
    shorter = prefixes(cut(items, 0, 1), cut(items, 1, -1))
    assert all(torch.equal(a[:, :-1], b) for a, b in zip(whole, shorter, strict=True))


def _with_own(hubs, values):
    """Each hub's own embedding before the values of the tokens, [H, M, 1 + T, E]."""
    return torch.cat([hubs[:, :, None], values[:, None].expand(-1, hubs.shape[1], -1, -1)], dim=2)


@torch.no_grad()
def test_a_chunk_of_padding_has_no_weight():
    encode = Encode(RouterConfig(8, n_heads=2, n_hubs=3)).double()
    k = torch.ones(1, 2, 2, 4, 4, dtype=torch.float64)
    summary = encode.summarise(k, k, torch.tensor([[[False] * 4, [True] * 4]]))
    assert not summary.total[:, 0].any()
    assert not summary.weighted[:, 0].any()
    assert summary.total[:, 1].eq(4).all()  # equal keys have equal weights, relative to the peak


@torch.no_grad()
def test_hub_summaries_are_finite_for_extreme_logits():
    torch.manual_seed(0)
    encode = Encode(RouterConfig(8, n_heads=2, n_hubs=3))
    k = 1e4 * torch.randn(1, 6, 2, 4, 4)
    prefix = encode(k, torch.ones_like(k), torch.ones(1, 6, 4, dtype=torch.bool), encode.start(1))
    assert all(part.isfinite().all() for part in prefix)
    averages = (prefix.weighted / prefix.total[..., None])[:, -1]
    # Any softmax average of ones is one, unless the hub still trusts its own embedding.
    trusting = (averages - encode.hubs).abs().amax(-1) < 1e-5
    assert ((averages - 1).abs().amax(-1) < 1e-5).logical_or(trusting).all()


def test_combining_hub_summaries_is_associative():
    torch.manual_seed(0)
    encode = Encode(RouterConfig(8, n_heads=2, n_hubs=3)).double()
    k, v = (3 * torch.randn(1, 3, 2, 4, 4, dtype=torch.float64) for _ in range(2))
    parts = encode.summarise(k, v, torch.ones(1, 3, 4, dtype=torch.bool))
    a, b, c = (type(parts)._make(part[:, i : i + 1] for part in parts) for i in range(3))
    for one, other in zip(combine(combine(a, b), c), combine(a, combine(b, c)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@torch.no_grad()
def test_ties_go_to_the_earlier_tokens():
    # One hub cannot distinguish tokens: all scores are the bias.
    size = Size(20, n_hubs=1, k=5)
    layer, x = build(size), draw(size)
    state = layer.stream(x)[1]
    keys = layer.project(x).view(*x.shape[:2], 3, size.n_heads, -1)[:, :, 1]
    rotated = rotate(keys, rotation(torch.arange(20), keys.shape[-1], layer.config.rope_base, keys.dtype))
    torch.testing.assert_close(state.selected_k, rotated[:, :5], rtol=0, atol=1e-12)


@torch.no_grad()
def test_equal_tokens_tie_whatever_their_rounding():
    # Scores 0.4 / 1024 on either side of a grid point: further apart than rounding, nearer than half a step.
    select = Select(RouterConfig(8, neighbours=0))
    score = (torch.tensor([[300.4, 299.6, 300.0, 301.0]]) / GRID).double()
    claim = select.claims(score, torch.ones(1, 4, dtype=torch.bool), score.new_empty(1, 0))
    assert (claim * GRID).tolist() == [[300.0, 300.0, 300.0, 301.0]]


@torch.no_grad()
@pytest.mark.parametrize("neighbours", [0, 1, 2])
def test_a_selected_token_shares_its_claim_with_its_successors_only(neighbours):
    select = Select(RouterConfig(8, neighbours=neighbours))
    score = torch.zeros(1, 9, dtype=torch.float64)
    score[0, 4] = 1
    recent = torch.full((1, neighbours), NO_CLAIM, dtype=torch.float64)
    claim = select.claims(score, torch.ones(1, 9, dtype=torch.bool), recent)
    assert claim[0].nonzero().flatten().tolist() == list(range(4, 5 + neighbours))


@torch.no_grad()
def test_claims_reach_over_the_border_of_a_piece():
    select = Select(RouterConfig(8, neighbours=2))
    score = torch.zeros(1, 4, dtype=torch.float64)
    recent = torch.tensor([[5.0, 3.0]], dtype=torch.float64)
    claim = select.claims(score, torch.ones(1, 4, dtype=torch.bool), recent)
    assert claim.tolist() == [[5.0, 3.0, 0.0, 0.0]]


@torch.no_grad()
def test_a_score_is_zero_before_its_bias_where_no_hub_is_preferred():
    score = Score(RouterConfig(8, n_heads=2, n_hubs=4)).double()
    uniform = torch.full((1, 1, 2, 3, 4), 0.25, dtype=torch.float64)
    assert score(uniform).tolist() == [[[score.head.bias.item()] * 3]]


@torch.no_grad()
def test_a_query_without_keys_gets_zeros_from_the_council():
    e = torch.ones(1, 1, 1, 2, 4)
    own = Members(e, e, torch.zeros(1, 1, 2, dtype=torch.bool))
    for number in (None, torch.tensor([[[1, 2]]])):  # all that are kept; one that is kept and one of the own chunk
        selected = Selected(Tokens(e[0].transpose(1, 2), e[0].transpose(1, 2)), number, own.valid)
        assert not Council()(e, selected, own).any()


@torch.no_grad()
def test_rotated_scores_depend_on_the_distance_alone():
    gen = torch.Generator().manual_seed(0)
    q, k = (torch.randn(1, 1, 1, 8, generator=gen, dtype=torch.float64) for _ in range(2))

    def turned(x, at):
        return rotate(x, rotation(torch.tensor([at]), 8, 1e4, x.dtype))

    scores = [(turned(q, at + 5) * turned(k, at)).sum() for at in (0, 1, 1000)]
    torch.testing.assert_close(scores[0], scores[1])
    torch.testing.assert_close(scores[0], scores[2])
    assert (scores[0] - (q * k).sum()).abs() > 1e-3


WRONG = [
    ({"d_model": 0}, "d_model must be at least 1, not 0"),
    ({"n_heads": 0}, "n_heads must be at least 1, not 0"),
    ({"n_hubs": 0}, "n_hubs must be at least 1, not 0"),
    ({"k": -1}, "k must be at least 1, not -1"),
    ({"chunk": 0}, "chunk must be at least 1, not 0"),
    ({"neighbours": -1}, "neighbours must not be negative, but is -1"),
    ({"council": "all"}, "council must be one of selected+chunk, selected, chunk, not 'all'"),
    ({"selection": "best"}, "selection must be one of learned, random, recent, not 'best'"),
    (
        {"council": "chunk", "causal": False},
        "a bidirectional layer has no chunks to read: council='chunk' needs causal=True",
    ),
    ({"d_model": 12}, "d_model=12 must be a multiple of 2 * n_heads=8: choose an even head width"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_configuration_that_cannot_be_built_says_which_value_to_change(change, message):
    with pytest.raises(ConfigError) as layer:
        RouterConfig(**({"d_model": 8} | change))
    assert str(layer.value) == message
    with pytest.raises(ConfigError) as model:
        ModelConfig(**({"vocab_size": 5, "d_model": 8} | change))
    assert str(model.value) == message


def test_every_field_of_the_layer_is_passed_on_by_the_model():
    values = {"d_model": 12, "n_heads": 3, "n_hubs": 5, "k": 7, "chunk": 9, "neighbours": 2, "rope_base": 50.0}
    values |= {
        "council": "selected",
        "selection": "recent",
        "readout": False,
        "adaptive_hubs": True,
        "impl": "compiled",
    }
    made = ModelConfig(vocab_size=5, causal=False, **values).router()
    assert dataclasses.asdict(made) == values | {"causal": False}


def test_shapes_are_checked_at_run_time(pytestconfig):
    from jaxtyping import TypeCheckError

    if not pytestconfig.getoption("jaxtyping_packages"):
        pytest.skip("shapes are checked with --jaxtyping-packages=hubrouter,beartype.beartype, as in `nox -s tests`")
    layer = build(Size(4))
    with pytest.raises(TypeCheckError):
        layer(torch.zeros(4, 8, dtype=torch.float64))
    with pytest.raises(TypeCheckError):
        layer(torch.zeros(2, 4, 8, dtype=torch.float64), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(TypeCheckError):
        layer.score(torch.zeros(2, 3, dtype=torch.float64))
