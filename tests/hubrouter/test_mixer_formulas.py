"""The efficient-attention layers against their formulas, token by token in float64: outputs and all gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from hubrouter import ModelConfig
from hubrouter.decayed_sums import decayed_sums
from hubrouter.mixers.discover import builders
from hubrouter.mixers.performer import FLOOR, _orthogonal

WIDTH, HEADS, E = 8, 2, 4
WINDOW, CHUNK, SUMMARIES, STATES = 5, 4, 3, 3
SIZES = {
    "features": 6,
    "window": WINDOW,
    "chunk": CHUNK,
    "ssm_chunk": CHUNK,
    "summaries": SUMMARIES,
    "ssm_state": STATES,
}
LENGTHS = [1, 4, 5, 6, 13]


def build(letter, dtype=torch.float64, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ModelConfig(11, letter, d_model=WIDTH, n_heads=HEADS, **(SIZES | changes))
        layer = builders()[letter](config).to(dtype)
        for parameter in layer.parameters():  # none at its first value, which may be 0 or 1
            torch.nn.init.normal_(parameter, parameter.detach().mean().item(), 0.3)
    return layer


def draw(length=13, seed=0):
    return torch.randn(2, length, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax_attention(layer, x, valid, sees):
    """Each query over what `sees` gives for it: keys and values [B, H, Y, E], and which of them are read, [B, Y]."""
    q, k, v = layer.heads(x, 0)
    outputs = []
    for t in range(x.shape[1]):
        keys, values, read = sees(t, k, v)
        logits = torch.einsum("bhe,bhye->bhy", q[:, :, t], keys) / math.sqrt(E)
        logits = logits.masked_fill(~read[:, None], -math.inf)
        outputs.append(torch.einsum("bhy,bhye->bhe", logits.softmax(-1), values))
    mixed = layer.output(torch.stack(outputs, 1).flatten(2))
    return torch.where(valid[..., None], mixed, 0)


def window(layer, x, valid):
    def sees(t, k, v):
        first = max(0, t - WINDOW + 1)
        read = valid[:, first : t + 1].clone()
        read[:, -1] = True  # a query at padding, whose output is then dropped
        return k[:, :, first : t + 1], v[:, :, first : t + 1], read

    return softmax_attention(layer, x, valid, sees)


def compressed(layer, x, valid):
    def sees(t, k, v):
        first = t // CHUNK * CHUNK
        keys, values, read = [], [], []
        for start in range(0, first, CHUNK):
            block = slice(start, start + CHUNK)
            for row in range(SUMMARIES):
                keys.append((k[:, :, block] * layer.compress[0, row, :, None]).sum(2))
                values.append((v[:, :, block] * layer.compress[1, row, :, None]).sum(2))
                read.append(valid[:, block].any(1))
        for j in range(first, t + 1):
            keys.append(k[:, :, j])
            values.append(v[:, :, j])
            read.append(valid[:, j] | (j == t))
        return torch.stack(keys, 2), torch.stack(values, 2), torch.stack(read, 1)

    return softmax_attention(layer, x, valid, sees)


def by_features(layer, x, valid, similarity):
    """The mean of the values of the prefix, weighted by `similarity` of query and keys, [B, H, E] and [B, H, T, E]."""
    q, k, v = layer.heads(x, 0)
    outputs = []
    for t in range(x.shape[1]):
        weights = similarity(q[:, :, t], k[:, :, : t + 1]) * valid[:, None, : t + 1]
        total = weights.sum(-1, keepdim=True)
        outputs.append((weights[..., None] * v[:, :, : t + 1]).sum(2) / torch.where(total == 0, 1, total))
    return torch.where(valid[..., None], layer.output(torch.stack(outputs, 1).flatten(2)), 0)


def linear(layer, x, valid):
    def similarity(q, k):
        q, k = (torch.where(t > 0, t + 1, t.exp()) for t in (q, k))
        return (q[:, :, None] * k).sum(-1)

    return by_features(layer, x, valid, similarity)


def performer(layer, x, valid):
    """Without any stabiliser of the keys."""

    def similarity(q, k):
        q, k = ((t / E**0.25) @ layer.directions.mT - (t / E**0.25).square().sum(-1, keepdim=True) / 2 for t in (q, k))
        return (((q - q.amax(-1, keepdim=True)).exp() + FLOOR)[:, :, None] * k.exp()).sum(-1)

    return by_features(layer, x, valid, similarity)


def rwkv(layer, x, valid):
    sums, last, outputs = x.new_zeros(2, HEADS, E, E), x.new_zeros(2, WIDTH), []
    for t in range(x.shape[1]):
        token = x[:, t]
        mixtures = [token * (1 - share) + last * share for share in layer.shift]
        r, k, v, gate = (linear(mixture) for linear, mixture in zip(layer.project, mixtures, strict=True))
        r, k, v = (part.unflatten(-1, (HEADS, E)) for part in (r, k * valid[:, t, None] / math.sqrt(E), v))
        update = k[..., :, None] * v[..., None, :]
        sums = sums * torch.exp(-torch.exp(layer.log_rate))[:, None, None] + update
        read = sums + layer.bonus.unflatten(0, (HEADS, E))[..., None] * update
        y = F.layer_norm((r[..., :, None] * read).sum(-2), (E,)).flatten(1) * layer.scale
        outputs.append(layer.output(y * F.silu(gate)) * valid[:, t, None])
        last = token
    return torch.stack(outputs, 1)


def s4d(layer, x, valid):
    rate = torch.complex(-layer.log_decay.exp(), layer.frequency)
    step = layer.log_step.exp()[:, None]
    state, outputs = torch.zeros(2, WIDTH, STATES, dtype=torch.complex128), []
    for t in range(x.shape[1]):
        state = state * torch.exp(rate * step) + (torch.exp(rate * step) - 1) / rate * x[:, t, :, None]
        y = 2 * (torch.view_as_complex(layer.read) * state).sum(-1).real + layer.skip * x[:, t]
        outputs.append(F.glu(layer.output(F.gelu(y)), dim=-1) * valid[:, t, None])
    return torch.stack(outputs, 1)


FORMULAS = {"C": compressed, "L": linear, "P": performer, "R": rwkv, "S": s4d, "W": window}

each_layer = pytest.mark.parametrize("letter", FORMULAS)


def outcome(run, layer, x):
    """Outputs, and the gradients of a fixed random functional of them."""
    x = x.clone().requires_grad_()
    y = run(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return [y, *torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()], materialize_grads=True)]


def agree(found, wanted, tolerance=1e-11):
    """Relative to the largest entry of each tensor."""
    for one, other in zip(found, wanted, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(1.0, float(other.detach().abs().max())))


@each_layer
@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_and_all_gradients_equal_the_formula(letter, length):
    layer, x = build(letter), draw(length)
    valid = torch.ones(2, length, dtype=torch.bool)
    agree(outcome(layer, layer, x), outcome(lambda x: FORMULAS[letter](layer, x, valid), layer, x))


@each_layer
def test_that_holds_with_padding_anywhere(letter):
    layer = build(letter)
    valid = torch.rand(2, 17, generator=torch.Generator().manual_seed(4)) < 0.6
    valid[0, :5], valid[1, 4:9] = False, False  # a block of padding alone at the start, another in the middle
    wanted = outcome(lambda x: FORMULAS[letter](layer, x * valid[..., None], valid), layer, draw(17))
    agree(outcome(lambda x: layer(x, valid), layer, draw(17)), wanted)


@torch.no_grad()
@pytest.mark.parametrize("letter", "LPRS")
@pytest.mark.parametrize("chunk", [1, 2, 3, 13, 64])
def test_the_chunk_size_changes_rounding_only(letter, chunk):
    torch.testing.assert_close(build(letter, ssm_chunk=chunk)(draw()), build(letter)(draw()), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("changed", [{"window": 13}, {"window": 100}])
def test_a_window_of_the_whole_sequence_is_attention(changed):
    layer, attention = build("W", **changed), build("A")
    attention.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(draw()), attention(draw()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_compressed_attention_within_one_block_is_attention():
    layer, attention = build("C", chunk=13), build("A")
    attention.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "compress"})
    torch.testing.assert_close(layer(draw()), attention(draw()), rtol=0, atol=1e-12)


@torch.no_grad()
def test_many_features_of_performer_estimate_softmax_attention():
    errors, x = [], 0.3 * draw()  # the variance of the estimate grows exponentially with the size of queries and keys
    for features in (64, 16384):
        layer, attention = build("P", features=features), build("A")
        attention.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "directions"})
        errors.append(float((layer(x) - attention(x)).abs().max() / attention(x).abs().max()))
    assert errors[1] < min(0.006, errors[0] / 8)


def test_directions_are_orthogonal_in_blocks_and_have_the_lengths_of_normal_vectors():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rows = _orthogonal(400, 16)
    assert rows.shape == (400, 16)
    assert rows.mean(0).abs().max() < 0.2  # 1 / sqrt(400) is expected
    block = F.normalize(rows[16:32], dim=1)
    torch.testing.assert_close(block @ block.mT, torch.eye(16), rtol=0, atol=1e-5)
    assert abs(rows.square().sum(1).mean() / 16 - 1) < 0.1
    assert rows.norm(dim=1).std() > 0.5


def test_the_directions_are_saved_and_not_trained():
    layer = build("P")
    assert "directions" in layer.state_dict()
    assert "directions" not in dict(layer.named_parameters())


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_performer_weighs_prefixes_whose_exponents_would_underflow(dtype):
    layer, x = build("P", dtype), draw().to(dtype)
    x[:, :9] *= 300  # exponents about -10^4: without a stabiliser of the prefix all weights would be 0
    _, k, v = layer.heads(x, 0)
    assert not layer._exponents(k)[:, :, :9].exp().any()
    torch.testing.assert_close(layer(x)[:, 0], layer.output(v[:, :, 0].flatten(1)))
    assert layer(x).abs().amax(-1).all()


@torch.no_grad()
def test_memory_of_the_window_is_linear():
    sizes, layer = [], build("W", torch.float32)
    for length in (256, 512):
        with torch.profiler.profile(profile_memory=True) as profile:
            layer(draw(length).float())
        sizes.append(sum(max(0, event.self_cpu_memory_usage) for event in profile.events()))
    assert sizes[1] < 2.2 * sizes[0]


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_decayed_sums_equal_the_recurrence_for_slow_and_fast_decay(size):
    gen = torch.Generator().manual_seed(0)
    shapes = [(2, 11, 3, 4), (2, 11, 3, 4), (2, 11, 3, 2), (2, 11, 3), (2, 3, 4, 2)]
    leaves = [torch.randn(shape, generator=gen, dtype=torch.float64).requires_grad_() for shape in shapes]

    def recurrence(q, k, v, decay, sums):
        outputs = []
        for t in range(11):
            sums = decay[:, t].exp()[..., None, None] * sums + k[:, t, ..., None] * v[:, t, :, None]
            outputs.append((q[:, t, ..., None] * sums).sum(-2))
        return torch.stack(outputs, 1), sums

    found = []
    for run in (lambda *arguments: decayed_sums(*arguments, 4), recurrence):
        q, k, v, decay, first = leaves
        y, last = run(q, k, v, -size * decay.abs(), first)
        found.append([y, last, *torch.autograd.grad(y.square().sum() + last.sum(), leaves)])
    agree(*found)
