"""The Mamba layer: against Jamba's own, streaming, padding, causality, and how it starts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from audits import audit
from audits.results import Verdict
from hubrouter import ModelConfig, SequenceModel
from hubrouter.mixers.mamba import Mamba

WIDTH = 8
VARIANTS = {
    "mamba-1": {},
    "one tap": {"ssm_conv": 1},
    "one state": {"ssm_state": 1},
    "mamba-2": {"ssm_heads": 4},
    "mamba-2 as matrices": {"ssm_heads": 4, "scan": "matmul"},
    "loop": {"scan": "loop"},
    "unbind": {"scan": "unbind"},
}

each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def build(seed=0, dtype=torch.float64, **changes):
    config = ModelConfig(11, "M", d_model=WIDTH, n_heads=2, **({"ssm_chunk": 4, "ssm_state": 3} | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Mamba(config).to(dtype)


def draw(length=13, seed=0, rows=2):
    return torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scattered(length=13, seed=1):
    valid = torch.rand(2, length, generator=torch.Generator().manual_seed(seed)) < 0.7
    valid[0, :3] = False
    return valid


@pytest.mark.parametrize("length", [1, 2, 13])
def test_outputs_and_gradients_are_those_of_transformers_jamba(length):
    transformers = pytest.importorskip("transformers")
    from transformers.models.jamba.modeling_jamba import JambaMambaMixer

    ours = build(ssm_state=5)
    config = transformers.JambaConfig(
        hidden_size=WIDTH, mamba_d_state=5, mamba_d_conv=4, mamba_expand=2, mamba_dt_rank=ours.rank
    )
    theirs = JambaMambaMixer(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    theirs = theirs.double()
    gradients = []
    for layer in (ours, theirs):
        x = draw(length).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        named = dict(layer.named_parameters())
        gradients.append([y, x.grad, *(named[name].grad for name in sorted(named))])
    # Theirs rounds the rates and steps to float32.
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1.0, float(other.detach().abs().max())))


@torch.no_grad()
def test_jamba_agrees_on_a_left_padded_row_too():
    pytest.importorskip("transformers")
    layer, x = build(), draw()
    valid = torch.arange(13).expand(2, -1) >= 5
    torch.testing.assert_close(layer(x, valid)[:, 5:], layer(x[:, 5:]), rtol=0, atol=1e-12)


@torch.no_grad()
@each_variant
def test_every_implementation_gives_the_same_layer(variant):
    layer = build(**variant)
    loop = build(**(variant | {"scan": "loop"}))
    torch.testing.assert_close(layer(draw()), loop(draw()), rtol=0, atol=1e-12)


@torch.no_grad()
@each_variant
@pytest.mark.parametrize("sizes", [[1] * 13, [6, 7], [1, 11, 1], [4, 4, 5], [13]], ids=str)
def test_a_stream_in_pieces_equals_one_pass(variant, sizes):
    layer, x, state, parts = build(**variant), draw(), None, []
    for piece in x.split(sizes, 1):
        y, state = layer.stream(piece, state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), layer(x), rtol=0, atol=1e-12)


def test_gradients_flow_through_a_stream_as_through_one_pass():
    layer, gradients = build(), []

    def stream(x):
        state, parts = None, []
        for piece in x.split([5, 1, 4, 3], 1):
            y, state = layer.stream(piece, state)
            parts.append(y)
        return torch.cat(parts, 1)

    for run in (layer, stream):
        x = draw().requires_grad_()
        layer.zero_grad()
        run(x).square().sum().backward()
        gradients.append([x.grad, *(p.grad.clone() for p in layer.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@torch.no_grad()
def test_the_state_is_small_whatever_the_length():
    layer = build()
    for length in (1, 3, 64):
        state = layer.stream(draw(length))[1]
        assert [t.untyped_storage().nbytes() for t in state] == [8 * 2 * 3 * 16, 8 * 2 * 16 * 3]


@torch.no_grad()
def test_streaming_does_not_modify_its_input_state():
    layer, x = build(), draw()
    _, state = layer.stream(x)
    first = layer.stream(x, state)[0]
    assert torch.equal(layer.stream(x, state)[0], first)


@torch.no_grad()
@each_variant
def test_no_output_changes_when_a_later_token_is_changed(variant):
    layer, x = build(**variant), draw()
    before = layer(x)
    for cut in range(1, 13):
        after = layer(torch.cat([x[:, :cut], -100 * x[:, cut:]], 1))
        assert torch.equal(after[:, :cut], before[:, :cut])
        assert not torch.equal(after[:, cut:], before[:, cut:])


@torch.no_grad()
@each_variant
@pytest.mark.parametrize("content", [0.0, 1e30, float("inf"), float("nan")])
def test_the_content_of_padding_never_matters_and_its_outputs_are_zero(variant, content):
    layer, x, valid = build(**variant), draw(), scattered()
    filled = torch.where(valid[..., None], x, content)
    output = layer(filled, valid)
    assert torch.equal(output, layer(x, valid))
    assert not output[~valid].any()
    assert output[valid].abs().amax(-1).all()


@torch.no_grad()
@each_variant
def test_padding_at_either_end_changes_nothing(variant):
    layer, x = build(**variant), draw()
    for valid in (torch.arange(13) < 6, torch.arange(13) >= 6):
        together = layer(x, valid.expand(2, -1))
        torch.testing.assert_close(together[:, valid], layer(x[:, valid]), rtol=0, atol=1e-12)


@torch.no_grad()
@each_variant
def test_the_state_passes_padding_in_the_middle_unchanged(variant):
    layer = build(**(variant | {"ssm_conv": 1}))  # a longer convolution sees that there was a gap
    x = draw()
    valid = (torch.arange(13) < 4) | (torch.arange(13) > 8)
    torch.testing.assert_close(layer(x, valid.expand(2, -1))[:, valid], layer(x[:, valid]), rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_convolution_reads_zeros_at_padding():
    layer, x = build(), draw()
    valid = torch.ones(2, 13, dtype=torch.bool)
    valid[:, 5] = False
    seen = []
    layer._convolve = lambda window, plain=layer._convolve: seen.append(window) or plain(window)
    layer(x, valid)
    assert not seen[0][:, 3 + 5].any()
    assert seen[0][:, 3:][:, valid[0]].abs().amax(-1).all()


@torch.no_grad()
def test_a_new_layer_decays_at_mambas_rates():
    layer = build(ssm_state=16, seed=3)
    torch.testing.assert_close(layer.A_log.exp()[5], torch.arange(1.0, 17, dtype=torch.float64))
    steps = F.softplus(layer.dt_proj.bias)
    assert 1e-3 <= steps.min() < 1e-2 < steps.max() <= 1e-1
    rates = build(ssm_heads=16).A_log.exp()
    assert rates.shape == (16, 1)
    assert 1 <= rates.min() < 8 < rates.max() <= 16


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_output_has_the_dtype_of_the_input(dtype):
    layer, x = build(dtype=dtype), draw().to(dtype)
    assert layer(x).dtype == dtype
    assert layer.stream(x)[0].dtype == dtype


def test_a_mamba_model_is_built_the_same_from_the_same_seed_only():
    one, same, other = (build(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["dt_proj.bias"], other["dt_proj.bias"])


@pytest.mark.parametrize("pattern", ["M", "MHAM"])
def test_the_auditor_passes_it_across_chunks(pattern):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ModelConfig(11, pattern, d_model=8, n_heads=2, n_hubs=3, k=3, chunk=4, ssm_chunk=4, ssm_state=3)
        model = SequenceModel(config)
    result = audit(model, vocab_size=11, seq_len=14)
    verdicts = {probe.name: probe.verdict for probe in result.probes if probe.applicable}
    assert {probe.name for probe in result.probes} - verdicts.keys() == {"documents", "padding"}  # no such arguments
    assert set(verdicts.values()) == {Verdict.PASS}
    assert len(verdicts) >= 9


def test_the_auditor_detects_a_scan_that_runs_backwards():
    class Backwards(Mamba):
        def forward(self, x, valid=None):
            return super().forward(x.flip(1), valid).flip(1)

    config = dataclasses.replace(ModelConfig(11, "M", d_model=8, n_heads=2), ssm_state=3)
    model = SequenceModel(config, {"M": Backwards})
    assert audit(model, vocab_size=11, seq_len=8, probes=["perturbation"]).verdict is Verdict.LEAK
