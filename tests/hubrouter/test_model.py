"""`SequenceModel`: layer patterns, streaming, generation, padding; and the attention it is compared with."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hubrouter import ConfigError, HubRouter, ModelConfig, SequenceModel
from hubrouter.mixers.attention import CausalAttention
from hubrouter.mixers.mamba import Mamba

VOCAB = 11
PATTERNS = ["H", "A", "M", "HH", "HAH", "AAHA", "MHAM"]

each_pattern = pytest.mark.parametrize("pattern", PATTERNS)


def build(pattern="HA", seed=0, dtype=torch.float64, **changes):
    config = ModelConfig(
        VOCAB, pattern, **({"d_model": 8, "n_heads": 2, "n_hubs": 3, "k": 3, "chunk": 4, "ssm_chunk": 4} | changes)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SequenceModel(config).to(dtype)


def draw(length, rows=2, seed=0):
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


@each_pattern
def test_a_pattern_names_one_layer_a_letter(pattern):
    kinds = {"A": CausalAttention, "H": HubRouter, "M": Mamba}
    assert [type(block.mixer) for block in build(pattern).blocks] == [kinds[letter] for letter in pattern]


def test_an_unknown_letter_is_named_with_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"^pattern 'HXQ' has unknown letters \['Q', 'X'\]; known are \['A', 'C', 'H', 'L', 'M'"
    ):
        build("HXQ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be at least 1, not 0"),
        ({"pattern": ""}, "pattern must name at least one layer, for instance 'HH'"),
        ({"mlp_ratio": 0}, "mlp_ratio must be at least 1, not 0"),
        ({"window": 0}, "window must be at least 1, not 0"),
        ({"summaries": 0}, "summaries must be at least 1, not 0"),
        ({"features": 0}, "features must be at least 1, not 0"),
        ({"ssm_state": 0}, "ssm_state must be at least 1, not 0"),
        ({"ssm_conv": 0}, "ssm_conv must be at least 1, not 0"),
        ({"ssm_expand": 0}, "ssm_expand must be at least 1, not 0"),
        ({"ssm_chunk": 0}, "ssm_chunk must be at least 1, not 0"),
        ({"ssm_heads": 3}, "ssm_heads=3 must divide ssm_expand * d_model=128, or be None for Mamba-1"),
        ({"ssm_heads": 0}, "ssm_heads=0 must divide ssm_expand * d_model=128, or be None for Mamba-1"),
        ({"scan": "fast"}, "scan must be one of loop, unbind, chunked, matmul, fused, not 'fast'"),
        (
            {"scan": "matmul"},
            "scan='matmul' needs one decay a head (Mamba-2): set ssm_heads, or choose scan='chunked'",
        ),
    ],
)
def test_a_model_that_cannot_be_built_says_which_value_to_change(change, message):
    with pytest.raises(ConfigError) as caught:
        ModelConfig(**({"vocab_size": 5} | change))
    assert str(caught.value) == message


def test_a_builder_may_be_added_or_replaced():
    class Nothing(nn.Module):
        def forward(self, x, valid=None):
            return torch.zeros_like(x)

    config = ModelConfig(VOCAB, "NA", d_model=8, n_heads=2)
    model = SequenceModel(config, {"N": lambda _: Nothing(), "A": lambda _: Nothing()})
    assert [type(block.mixer) for block in model.blocks] == [Nothing, Nothing]
    assert model(draw(5)).shape == (2, 5, VOCAB)


def test_the_embedding_is_tied_to_the_output():
    model = build("H")
    assert not [name for name, _ in model.named_parameters() if "head" in name.split(".")[0]]
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(model._logits(x), F.rms_norm(x, (8,)) @ model.embedding.weight.T)


def test_an_untrained_model_has_about_the_loss_of_a_uniform_guess():
    tokens = draw(64, rows=8)
    loss = F.cross_entropy(build("HH")(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss.item() - math.log(VOCAB)) < 1


def test_every_parameter_receives_a_gradient():
    model = build("HAHM")
    model(draw(13)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@torch.no_grad()
@each_pattern
def test_no_logit_changes_when_a_later_token_is_changed(pattern):
    model, tokens = build(pattern), draw(14)
    before = model(tokens)
    for cut in range(1, 14):
        changed = torch.cat([tokens[:, :cut], (tokens[:, cut:] + 1 + cut % 5) % VOCAB], dim=1)
        after = model(changed)
        assert torch.equal(after[:, :cut], before[:, :cut])
        assert not torch.equal(after[:, cut:], before[:, cut:])


@torch.no_grad()
def test_the_bidirectional_model_is_not_causal():
    model, tokens = build("HH", causal=False), draw(14)
    changed = torch.cat([tokens[:, :-1], (tokens[:, -1:] + 1) % VOCAB], dim=1)
    assert (model(changed) - model(tokens))[:, :-1].abs().max() > 1e-4


@torch.no_grad()
@each_pattern
@pytest.mark.parametrize("sizes", [[1] * 13, [6, 7], [1, 11, 1], [13]], ids=str)
def test_a_stream_in_pieces_equals_one_pass(pattern, sizes):
    model, tokens = build(pattern), draw(13)
    state, parts = None, []
    for piece in tokens.split(sizes, dim=1):
        logits, state = model.stream(piece, state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), model(tokens), rtol=0, atol=1e-11)


@torch.no_grad()
@each_pattern
def test_greedy_generation_takes_the_best_logit_of_a_whole_pass(pattern):
    model, tokens = build(pattern), draw(5)
    generated = model.generate(tokens, 9)
    assert generated.shape == (2, 14)
    assert torch.equal(generated[:, :5], tokens)
    assert torch.equal(generated[:, 5:], model(generated)[:, 4:-1].argmax(-1))


def test_sampling_is_reproducible_and_follows_the_generator():
    model, tokens = build(), draw(5)
    drawn = [model.generate(tokens, 20, temperature=1.0, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_sampling_does_not_use_the_global_generator():
    state = torch.random.get_rng_state()
    build().generate(draw(5), 5, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_low_temperature_is_nearly_greedy():
    model, tokens = build(), draw(5)
    cold = model.generate(tokens, 9, temperature=1e-6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cold, model.generate(tokens, 9))


def test_generating_nothing_returns_the_prompt():
    assert torch.equal(build().generate(draw(5), 0), draw(5))


@torch.no_grad()
@each_pattern
def test_right_padding_changes_no_logit_of_a_real_token(pattern):
    model, tokens = build(pattern), draw(13)
    valid = torch.arange(13).expand(2, -1) < 9
    torch.testing.assert_close(model(tokens, valid)[:, :9], model(tokens[:, :9]), rtol=0, atol=1e-11)


@torch.no_grad()
@each_pattern
def test_the_token_at_padding_never_matters(pattern):
    model, tokens = build(pattern), draw(13)
    valid = torch.rand(2, 13, generator=torch.Generator().manual_seed(3)) < 0.7
    valid[0, :4] = False
    other = torch.where(valid, tokens, (tokens + 3) % VOCAB)
    torch.testing.assert_close(model(other, valid)[valid], model(tokens, valid)[valid], rtol=0, atol=1e-12)
    assert (model(other) - model(tokens))[valid].abs().max() > 1e-6


def attention(dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CausalAttention(ModelConfig(VOCAB, d_model=8, n_heads=2)).to(dtype)


@torch.no_grad()
def test_attention_equals_its_definition():
    layer = attention()
    x = torch.randn(2, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, k, v = layer.heads(x, 0)
    logits = (q @ k.mT / 2).masked_fill(torch.ones(9, 9, dtype=torch.bool).triu(1), -math.inf)
    wanted = layer.output((logits.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(layer(x), wanted, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("cut", range(1, 9))
def test_streamed_attention_equals_one_pass(cut):
    layer, x = attention(), torch.randn(2, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, cache = layer.stream(x[:, :cut])
    second, _ = layer.stream(x[:, cut:], cache)
    torch.testing.assert_close(torch.cat([first, second], dim=1), layer(x), rtol=0, atol=1e-12)


@torch.no_grad()
def test_attention_outputs_at_padding_are_zero_and_finite_elsewhere():
    layer, x = attention(), torch.randn(2, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    valid = torch.rand(2, 9, generator=torch.Generator().manual_seed(2)) < 0.5
    valid[0] = False
    output = layer(x, valid)
    assert not output[~valid].any()
    assert output[valid].abs().amax(-1).all()
    assert output.isfinite().all()
