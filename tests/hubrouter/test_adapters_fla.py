"""HubRouter at the interface of flash-linear-attention: three results, a 0/1 mask, its cache, packed documents."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hub_layers import Size, build, draw

from audits import audit
from audits.results import Verdict
from hubrouter import ConfigError, RouterConfig
from hubrouter.adapters import AdapterError, HubMixer

SIZE = Size(13, batch=3)
MASK = torch.tensor([[0] * 5 + [1] * 8, [1] * 13, [1] * 4 + [0] * 3 + [1] * 6])


class Cache:
    """The part of fla's cache that its layers use: states by layer, and the row operations over the tensors in them."""

    def __init__(self):
        self.states, self.seen = [], 0

    def __len__(self):
        return len(self.states)

    def __getitem__(self, layer_idx):
        return self.states[layer_idx]

    def update(self, recurrent_state=None, layer_idx=0, offset=1):
        while len(self.states) <= layer_idx:
            self.states.append(None)
        self.states[layer_idx] = {"recurrent_state": recurrent_state, "conv_state": None}
        self.seen += offset

    def reorder_cache(self, rows):
        for state in self.states:
            if state:
                state["recurrent_state"] = tuple(t.index_select(0, rows) for t in state["recurrent_state"])


def caches():
    """The replacement above, and fla's own where it can be imported."""
    try:
        from fla.models.utils import Cache as Real
    except ImportError:
        return [Cache]
    return [Cache, Real]


each_cache = pytest.mark.parametrize("make", caches(), ids=lambda kind: kind.__module__)
mixer = HubMixer(build(SIZE), layer_idx=1)
X = draw(SIZE)


@torch.no_grad()
def test_the_layer_returns_output_none_and_cache():
    output, attentions, cache = mixer(X)
    assert torch.equal(output, mixer.router(X))
    assert attentions is None
    assert cache is None


@torch.no_grad()
@pytest.mark.parametrize("mask", [MASK, MASK.bool()])
def test_a_padded_row_equals_a_single_row(mask):
    output = mixer(X, mask)[0]
    assert not output[MASK == 0].any()
    for row, real in enumerate(MASK.bool()):
        torch.testing.assert_close(output[row, real], mixer(X[row : row + 1, real])[0][0], rtol=0, atol=1e-12)


@torch.no_grad()
@each_cache
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "padded"])
@pytest.mark.parametrize("sizes", [[13], [1] * 13, [7, 1, 5], [2, 3, 8]])
@pytest.mark.parametrize("whole_mask", [True, False])
def test_a_cache_continues_the_sequence(make, mask, sizes, whole_mask):
    cache, parts, end = make(), [], 0
    for size in sizes:
        end += size
        piece_mask = None if mask is None else mask[:, (0 if whole_mask else end - size) : end]
        output, _, cache = mixer(X[:, end - size : end], piece_mask, cache, use_cache=True)
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, 1), mixer(X, mask)[0], rtol=0, atol=1e-12)


@torch.no_grad()
@each_cache
def test_rows_of_the_cache_may_be_reordered(make):
    cache, rows = make(), torch.tensor([2, 0, 0])
    mixer(X[:, :9], MASK[:, :9], cache, use_cache=True)
    cache.reorder_cache(rows)
    output = mixer(X[rows, 9:], MASK[rows, 9:], cache, use_cache=True)[0]
    torch.testing.assert_close(output, mixer(X, MASK)[0][rows, 9:], rtol=0, atol=1e-12)


@torch.no_grad()
@each_cache
def test_a_cache_is_written_only_where_asked(make):
    cache = make()
    assert mixer(X, past_key_values=cache)[2] is cache
    assert len(cache) == 0


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("borders", [[0, 13], [0, 1, 13], [0, 5, 5, 9, 13]])
def test_packed_documents_are_routed_separately(borders, dtype):
    output = mixer(X[:1], cu_seqlens=torch.tensor(borders, dtype=dtype))[0]
    single = [mixer(X[:1, a:b])[0] for a, b in pairwise(borders) if b > a]
    assert torch.equal(output, torch.cat(single, 1))


class Packed(torch.nn.Module):
    """A feature model of one mixer, as the auditor calls it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, hidden_states, attention_mask=None, cu_seqlens=None):
        return self.layer(hidden_states, attention_mask, cu_seqlens=cu_seqlens)[0]


def test_the_auditor_finds_documents_isolated():
    result = audit(Packed(mixer), input="features", width=8, seq_len=16, probes=["documents", "gradient"])
    assert result.verdict is Verdict.PASS, [(p.name, p.why) for p in result.probes]
    assert {p.name: p.verdict for p in result.probes}["documents"] is Verdict.PASS


REFUSED = [
    ({"cu_seqlens": torch.tensor([0, 9])}, "must rise from 0"),
    ({"cu_seqlens": torch.tensor([2, 13])}, "must rise from 0"),
    ({"cu_seqlens": torch.tensor([0, 9, 4, 13])}, "must rise from 0"),
    ({"cu_seqlens": torch.tensor([], dtype=torch.int64)}, "must rise from 0"),
    ({"cu_seqlens": torch.tensor([0, 13]), "attention_mask": MASK[:1]}, "cannot be combined"),
    ({"attention_mask": torch.ones(1, 1, 13, 13)}, "0 or 1 for every token"),
    ({"attention_mask": MASK}, "fits neither"),
]


@torch.no_grad()
@pytest.mark.parametrize(("arguments", "why"), REFUSED)
def test_what_is_not_supported_is_refused_in_one_line(arguments, why):
    with pytest.raises(AdapterError, match=why) as error:
        mixer(X[:1], **arguments)
    assert "\n" not in str(error.value)


@torch.no_grad()
def test_a_cache_of_another_layer_or_without_a_number_is_refused():
    cache = Cache()
    cache.update(recurrent_state=torch.ones(3), layer_idx=1)
    with pytest.raises(AdapterError, match="holds a Tensor of another layer at 1"):
        mixer(X, past_key_values=cache)
    with pytest.raises(AdapterError, match="needs a layer_idx"):
        HubMixer(mixer.router)(X, past_key_values=cache)
    with pytest.raises(ConfigError, match="cannot stream"):
        HubMixer(RouterConfig(8, n_heads=2, causal=False), 0).double()(X, past_key_values=Cache(), use_cache=True)
