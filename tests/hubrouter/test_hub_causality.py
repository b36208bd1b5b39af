"""The strictly causal layer: nothing before a cut depends on anything from the cut on."""

from __future__ import annotations

import pytest
import torch
from hub_layers import ABLATIONS, RAGGED, Size, build, draw

from audits.leaks import hub_bidirectional_council, hub_own_chunk_summary, hub_selection_in_chunk
from audits.leaks._hub import CONFIG

CAUSAL = RAGGED + [size for size in ABLATIONS if size.causal]
LONGER = [size for size in CAUSAL if size.length > 1]
MAGNITUDES = (1e-3, 1.0, 1e3)

each_size = pytest.mark.parametrize("size", LONGER, ids=str)


@torch.no_grad()
def largest_change(layer, x, magnitude, seed=1):
    """The largest change before any cut when everything from the cut on is replaced; equal shapes, so 0 means none."""
    worst = 0.0
    fresh = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype) * magnitude
    before = layer(x)
    for cut in range(1, x.shape[1]):
        after = layer(torch.cat([x[:, :cut], fresh[:, cut:]], dim=1))
        worst = max(worst, float((after - before)[:, :cut].abs().max()))
    return worst


@each_size
@pytest.mark.parametrize("magnitude", MAGNITUDES)
def test_no_output_changes_when_anything_later_is_replaced(size, magnitude):
    assert largest_change(build(size), draw(size), magnitude) == 0


@pytest.mark.parametrize("leak", [hub_bidirectional_council, hub_selection_in_chunk, hub_own_chunk_summary])
def test_the_same_replacement_shows_planted_leaks(leak):
    layer = leak.layer(CONFIG).double()
    assert largest_change(layer, draw(Size(30, d_model=CONFIG.d_model)), 1.0) > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("size", [size for size in LONGER if size.council != "selected"], ids=str)
def test_every_token_changes_its_own_output_and_some_later_one(size):
    layer, x = build(size), draw(size)
    before = layer(x)
    for position in range(size.length):
        changed = x.clone()
        changed[:, position] += 1
        change = (layer(changed) - before).abs().amax((0, 2))
        assert change[position] > 1e-6
        # In a chunk of one, the next chunk's hubs are the first to see the token.
        assert position + 1 == size.length or change[position + 1 :].max() > 1e-9


@torch.no_grad()
@pytest.mark.parametrize("size", CAUSAL, ids=str)
def test_the_outputs_of_a_prefix_do_not_depend_on_what_follows(size):
    layer, x = build(size), draw(size)
    whole = layer(x)
    for length in range(1, size.length + 1):
        torch.testing.assert_close(layer(x[:, :length]), whole[:, :length], rtol=0, atol=1e-12)


@each_size
def test_no_output_has_a_derivative_with_respect_to_a_later_token(size):
    layer = build(size)
    x = draw(size).requires_grad_()
    outputs = layer(x)
    for position in range(size.length):
        (gradient,) = torch.autograd.grad(outputs[:, position].sum(), x, retain_graph=True)
        assert not gradient[:, position + 1 :].any()
        assert gradient[:, position].any() == (position >= size.silent)


@torch.no_grad()
def test_a_row_does_not_depend_on_another_row():
    size = Size(13, batch=3)
    layer, x = build(size), draw(size)
    before = layer(x)
    for row in range(size.batch):
        changed = x.clone()
        changed[row] *= 100
        change = (layer(changed) - before).abs().amax((1, 2))
        assert change[row] > 0
        assert not change[torch.arange(size.batch) != row].any()


@torch.no_grad()
def test_an_output_does_not_depend_on_earlier_calls():
    size = Size(13)
    layer, x = build(size), draw(size)
    before, weights = layer(x), {name: value.clone() for name, value in layer.state_dict().items()}
    layer(draw(size, seed=5, length=31))
    layer.stream(draw(size, seed=6, length=6))
    assert torch.equal(layer(x), before)
    assert all(torch.equal(value, weights[name]) for name, value in layer.state_dict().items())


@torch.no_grad()
def test_training_mode_changes_nothing():
    size = Size(13)
    layer, x = build(size), draw(size)
    assert torch.equal(layer.train()(x), layer.eval()(x))


def test_every_parameter_receives_a_gradient():
    size = Size(13)
    layer = build(size)
    layer(draw(size)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9, name


def test_each_hub_and_each_score_weight_receives_a_gradient():
    size = Size(13)
    layer = build(size)
    layer(draw(size)).square().sum().backward()
    assert layer.encode.hubs.grad.abs().amax(-1).gt(1e-9).all()
    assert layer.score.head.weight.grad.abs().gt(1e-9).all()


@pytest.mark.parametrize("causal", [True, False])
def test_the_analytic_gradient_is_the_numerical_one(causal):
    size = Size(7, chunk=2, k=2, n_hubs=2, d_model=4, batch=1, causal=causal)
    layer = build(size)
    x = draw(size, seed=3).requires_grad_()
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(given, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (given,))

    assert torch.autograd.gradcheck(run, (x, *values))


@torch.no_grad()
def test_the_bidirectional_layer_is_not_causal():
    size = Size(13, causal=False)
    assert largest_change(build(size), draw(size), 1.0) > 1e-3
