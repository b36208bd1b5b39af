"""What every letter of a layer pattern promises: causality, streams, padding, dtypes, whatever the mixer."""

from __future__ import annotations

import pytest
import torch

from audits import audit
from audits.results import Verdict
from hubrouter import ModelConfig, SequenceModel
from hubrouter.mixers.discover import builders

WIDTH = 8
LETTERS = "ACHLMPRSW"
GROWING = "AC"  # their streams' states grow with the sequence
LENGTHS = [1, 2, 4, 5, 13]

each_letter = pytest.mark.parametrize("letter", LETTERS)


def configuration(pattern, **changes):
    small = {"n_heads": 2, "n_hubs": 3, "k": 3, "chunk": 4, "ssm_chunk": 4, "ssm_state": 3, "window": 5, "summaries": 2}
    return ModelConfig(11, pattern, **({"d_model": WIDTH, "features": 6} | small | changes))


def build(letter, dtype=torch.float64, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return builders()[letter](configuration(letter, **changes)).to(dtype)


def draw(length=13, seed=0, rows=2, width=WIDTH):
    return torch.randn(rows, length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scattered(length=13):
    valid = torch.rand(2, length, generator=torch.Generator().manual_seed(1)) < 0.7
    valid[0, :3] = False
    return valid


def in_pieces(layer, x, sizes, state=None):
    parts = []
    for piece in x.split(sizes, 1):
        y, state = layer.stream(piece, state)
        parts.append(y)
    return torch.cat(parts, 1)


def tensors(state):
    """All tensors of a state, however it is nested."""
    if isinstance(state, torch.Tensor):
        return [state]
    parts = state if isinstance(state, tuple) else vars(state).values() if hasattr(state, "__dict__") else ()
    return [tensor for part in parts for tensor in tensors(part)]


def test_the_letters_are_those_that_are_found():
    assert set(builders()) == set(LETTERS)


@torch.no_grad()
@each_letter
@pytest.mark.parametrize("length", LENGTHS)
def test_a_stream_in_pieces_equals_one_pass(letter, length):
    layer, x = build(letter), draw(length)
    for sizes in ([1] * length, [length], [length - length // 2, length // 2], [1, length - 1]):
        pieces = [size for size in sizes if size]
        torch.testing.assert_close(in_pieces(layer, x, pieces), layer(x), rtol=0, atol=1e-12)


@torch.no_grad()
@each_letter
def test_a_long_stream_in_ragged_pieces_equals_one_pass(letter):
    layer, x = build(letter), draw(61)
    torch.testing.assert_close(in_pieces(layer, x, [3, 8, 1, 17, 4, 1, 27]), layer(x), rtol=0, atol=1e-11)


@each_letter
def test_gradients_flow_through_a_stream_as_through_one_pass(letter):
    layer, gradients = build(letter), []
    for run in (layer, lambda x: in_pieces(layer, x, [5, 1, 4, 3])):
        x = draw().requires_grad_()
        layer.zero_grad()
        run(x).square().sum().backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())
        gradients.append([x.grad, *(parameter.grad.clone() for parameter in layer.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@torch.no_grad()
@each_letter
def test_an_old_state_may_be_continued_twice(letter):
    layer, x = build(letter), draw()
    _, state = layer.stream(x[:, :6])
    first = layer.stream(x[:, 6:], state)[0]
    in_pieces(layer, -x, [1] * 13, state)
    assert torch.equal(layer.stream(x[:, 6:], state)[0], first)


@torch.no_grad()
@pytest.mark.parametrize("letter", sorted(set(LETTERS) - {"A"}))  # whose cache grows by every piece anyway
def test_a_state_does_not_keep_the_piece_in_memory(letter):
    layer = build(letter)
    state = layer.stream(draw(64))[1]
    assert sum(t.untyped_storage().nbytes() for t in tensors(state)) == sum(t.nbytes for t in tensors(state))


@torch.no_grad()
@pytest.mark.parametrize("letter", sorted(set(LETTERS) - set(GROWING)))
def test_the_size_of_a_state_does_not_depend_on_the_length(letter):
    layer = build(letter)
    sizes = [sum(t.nbytes for t in tensors(layer.stream(draw(length))[1])) for length in (16, 64)]
    assert sizes[0] == sizes[1] > 0


@torch.no_grad()
@each_letter
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_no_output_changes_when_a_later_token_is_changed(letter, size):
    layer, x = build(letter), draw()
    before = layer(x)
    for cut in range(1, 13):
        after = layer(torch.cat([x[:, :cut], -size * x[:, cut:]], 1))
        assert torch.equal(after[:, :cut], before[:, :cut])
        assert not torch.equal(after[:, cut:], before[:, cut:])


@each_letter
def test_no_output_has_a_derivative_with_respect_to_a_later_token(letter):
    layer = build(letter)
    x = draw(rows=1).expand(13, -1, -1).clone().requires_grad_()
    sinks = torch.arange(13)
    (found,) = torch.autograd.grad(layer(x)[sinks, sinks].sum(), x)
    assert not found.abs().amax(-1).triu(1).any()
    assert found.abs().amax(-1).diagonal().all()


@torch.no_grad()
@each_letter
@pytest.mark.parametrize("content", [0.0, 1e30, float("inf"), float("nan")])
def test_the_content_of_padding_never_matters_and_its_outputs_are_zero(letter, content):
    layer, x, valid = build(letter), draw(), scattered()
    output = layer(torch.where(valid[..., None], x, content), valid)
    assert torch.equal(output, layer(x, valid))
    assert not output[~valid].any()
    assert output[valid].abs().amax(-1).all()


@torch.no_grad()
@each_letter
def test_right_padding_changes_nothing(letter):
    layer, x = build(letter), draw()
    valid = torch.arange(13).expand(2, -1) < 9
    torch.testing.assert_close(layer(x, valid)[:, :9], layer(x[:, :9]), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(
    "letter", "AMRSW"
)  # blocks of the others start with the padding, or features with the position
def test_left_padding_changes_nothing(letter):
    layer, x = build(letter), draw()
    valid = torch.arange(13).expand(2, -1) >= 5
    torch.testing.assert_close(layer(x, valid)[:, 5:], layer(x[:, 5:]), rtol=0, atol=1e-12)


@each_letter
def test_a_row_of_padding_alone_is_zero_and_has_finite_gradients(letter):
    layer, x = build(letter), draw().requires_grad_()
    valid = torch.ones(2, 13, dtype=torch.bool)
    valid[0] = False
    output = layer(x, valid)
    output.square().sum().backward()
    assert not output[0].any()
    assert not x.grad[0].any()
    assert all(p.grad.isfinite().all() for p in (x, *layer.parameters()))


@torch.no_grad()
@each_letter
def test_training_mode_equals_evaluation_mode_and_repeats_itself(letter):
    layer, x = build(letter), draw()
    first = layer.train()(x)
    layer(draw(26, seed=1))
    assert torch.equal(layer.eval()(x), first)


@torch.no_grad()
@each_letter
def test_a_row_does_not_depend_on_the_others(letter):
    layer, x = build(letter), draw(rows=3)
    others = torch.cat([x[:1], 1000 * x[1:]])
    assert torch.equal(layer(others)[:1], layer(x)[:1])


@each_letter
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 1e-4, 1e4])
def test_low_precision_is_finite_close_and_keeps_its_dtype(letter, dtype, size):
    layer, x = build(letter, dtype), (size * draw(29)).to(dtype).requires_grad_()
    output = layer(x)
    output.float().square().mean().backward()
    assert output.dtype == layer.stream(x)[0].dtype == dtype
    assert all(t.isfinite().all() for t in (output, x.grad, *(p.grad for p in layer.parameters())))
    if size == 1.0 and letter != "H":  # HubRouter's selection may differ by a rounding
        wanted = layer.double()(x.double())
        limit = 200 * torch.finfo(dtype).eps * float(wanted.detach().abs().max())
        torch.testing.assert_close(output.double(), wanted, rtol=0, atol=limit)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's, about Mamba's norms
@each_letter
def test_autocast_keeps_outputs_close(letter):
    layer, x = build(letter, torch.float32), draw(29).float()
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    if letter != "H":
        torch.testing.assert_close(output.float(), layer(x), rtol=0, atol=0.2 * float(layer(x).detach().abs().max()))


@pytest.mark.parametrize("pattern", [*"CLPRSW", "LCW", "PRS"])
def test_the_auditor_passes_it_across_chunks(pattern):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SequenceModel(configuration(pattern))
    result = audit(model, vocab_size=11, seq_len=14)
    verdicts = {probe.name: probe.verdict for probe in result.probes if probe.applicable}
    assert {probe.name for probe in result.probes} - verdicts.keys() == {"documents", "padding"}  # no such arguments
    assert set(verdicts.values()) == {Verdict.PASS}
    assert len(verdicts) >= 9
