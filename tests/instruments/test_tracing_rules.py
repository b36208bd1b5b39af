"""The rules of tracing against brute force: change every token, and see which outputs change."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from audits.instruments.tracing.taint_map import unflagged
from audits.instruments.tracing.trace import trace_function
from audits.instruments.tracing.tracer import Tracer

N, D = 7, 3
MASK = torch.ones(N, N, dtype=torch.bool).triu(1)
LOW = torch.zeros(N, N, dtype=torch.float64).masked_fill(MASK, -math.inf)
GEN = torch.Generator().manual_seed(5)
SQUARE = torch.randn(D, D, generator=GEN, dtype=torch.float64)
EACH = "donot_use_mm_for_euclid_dist"
KERNEL = torch.randn(D, D, 3, generator=GEN, dtype=torch.float64)


def fed(seed=0):
    return torch.randn(1, N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def traced(function, x, tracer=None):
    """The latest position every element of function(x) depends on, -1 for constants."""
    out, labels = trace_function(tracer or Tracer(None), function, x, torch.arange(N)[None])
    return torch.full(out.shape, -1) if labels is None else unflagged(labels).long() - 1


@torch.no_grad()
def measured(function, x, changes=6):
    """The same by brute force: the latest token whose change, alone or with its suffix, changes an element."""
    before = function(x.clone())
    latest = torch.full(before.shape, -1)
    gen = torch.Generator().manual_seed(1)
    for token in range(N):
        for change in range(changes):
            other = x.clone()
            reach = slice(token, token + 1 if change % 2 else N)
            fresh = torch.randn(other[:, reach].shape, generator=gen, dtype=x.dtype) * 10.0 ** (change // 2)
            other[:, reach] = fresh
            after = function(other)
            changed = (after != before) & ~(after.isnan() & before.isnan())
            latest[changed] = latest[changed].clamp(min=token)
    return latest


def scores(x):
    return x @ x.mT


def attention(weights, x):
    return weights @ x


def softmax_of(scores):
    return scores.softmax(-1)


def gelu_of_sum(x):
    return F.gelu(x + x.roll(2, 1))


def written_in_place(x):
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    y[:, 3] *= x[:, 0]
    return y


def scattered(x):
    best = scores(x).masked_fill(MASK, -math.inf).topk(2, -1).indices
    keep = torch.full((1, N, N), -math.inf, dtype=x.dtype).scatter(-1, best, 0.0)
    return attention(softmax_of(scores(x) + LOW + keep), x)


def computed(x):
    # Later keys are hidden, whatever the token's value of a billionth is.
    return torch.arange(N) > torch.arange(N)[:, None] + 0.5 + x[..., :1] * 1e-9


def decided(x):
    return torch.zeros(1, N, N).double().masked_fill((x[..., :1] > 0) & ~torch.eye(N, dtype=torch.bool), -math.inf)


def routed(x):
    y, chosen = torch.zeros_like(x[0]), x[0].argmax(-1)
    for expert in range(D):
        rows = (chosen == expert).nonzero().squeeze(-1)
        y.index_add_(0, rows, x[0][rows] * (expert + 1.0))
    return y[None]


def complex_rotation(x):
    pairs = torch.view_as_complex(x[..., :2].contiguous()) * torch.polar(
        torch.ones(N, 1).double(), torch.arange(N)[:, None].double()
    )
    return torch.view_as_real(pairs).flatten(2)


def lstm(x):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.LSTM(D, 4, batch_first=True).double()(x)[0]


# Each of these is traced exactly: neither too early nor too late.
EXACT = {
    "a constant": lambda x: torch.ones_like(x),
    "arithmetic": lambda x: (x * 2 + 1) / (x.roll(1, 1).abs() + 1),
    "a constant zero factor": lambda x: x.flip(1) * torch.ones(N, D).tril(-2),
    "a zero numerator": lambda x: torch.zeros(1, N, 1).double() / (x.amax(1, keepdim=True).abs() + 1) + x,
    "smooth functions": gelu_of_sum,
    "a constant condition": lambda x: torch.where(MASK[:, :D], x, x.flip(1)),
    "a token's own condition": lambda x: torch.where(x > 0, x, -x * 2),
    "constant False in a conjunction": lambda x: ((x > 0) & (torch.arange(N) < 3)[:, None]).double(),
    "constant True in a disjunction": lambda x: ((x.flip(1) > 0) | (torch.arange(N) < 6)[:, None]).double(),
    "a total": lambda x: x.sum(1, keepdim=True) + 0 * x[:, :1],
    "a running sum": lambda x: x.cumsum(1),
    "a backward running product": lambda x: x.flip(1).cumprod(1).flip(1),
    "a running maximum": lambda x: x.cumsum(1).exp().cumsum(1).logcumsumexp(1),
    "a matrix of features": lambda x: x @ SQUARE,
    "a triangular constant matrix": lambda x: torch.ones(N, N, dtype=x.dtype).tril() @ x,
    "a strictly triangular constant matrix": lambda x: torch.ones(N, N, dtype=x.dtype).tril(-1) @ x,
    "a mask computed from a token": lambda x: attention(softmax_of(scores(x).masked_fill(computed(x), -math.inf)), x),
    "a triangular constant matrix on the right": lambda x: (x.mT @ torch.ones(N, N, dtype=x.dtype).triu()).mT,
    "an affine map with a dead input": lambda x: F.linear(
        x.flip(1) * (torch.arange(D) == 0) + x, SQUARE * (torch.arange(D) > 0)
    ),
    "einsum": lambda x: torch.einsum("bnd,bmd,nm->bnd", x, x, torch.ones(N, N, dtype=x.dtype).tril()),
    "distances to constants": lambda x: torch.cdist(x.cumsum(1), SQUARE[None], compute_mode=EACH),
    "distances between tokens": lambda x: torch.cdist(x, 2 * x[:, 2:4], compute_mode=EACH),
    "masked attention": lambda x: attention(softmax_of(scores(x).masked_fill(MASK, -math.inf)), x),
    "attention with an added mask": lambda x: attention(softmax_of(scores(x) + LOW), x),
    "attention with a huge finite mask": lambda x: attention(softmax_of(scores(x) + MASK * -1e9), x),
    "attention filled with a finite mask": lambda x: attention(softmax_of(scores(x).masked_fill(MASK, -1e9)), x),
    "attention by hand with a finite mask": lambda x: attention(by_hand(scores(x) + MASK * -1e9), x),
    "attention without a mask": lambda x: attention(softmax_of(scores(x)), x),
    "a small finite mask": lambda x: attention(softmax_of(scores(x) + MASK * -9.0), x),
    "a fully masked row under a finite mask": lambda x: attention(
        softmax_of(scores(x).masked_fill(MASK.tril(-1) | MASK | MASK.mT | torch.eye(N).bool(), -1e9)), x
    ),
    "fused attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "fused attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=~MASK),
    "sparse attention": scattered,
    "sparse attention by hand": lambda x: attention(by_hand(scores(x) + LOW + decided(x)), x),
    "a causal convolution": lambda x: F.conv1d(F.pad(x.mT, (2, 0)), KERNEL).mT,
    "a centred convolution": lambda x: F.conv1d(x.mT, KERNEL, padding=1).mT,
    "a dilated depthwise convolution": lambda x: F.conv1d(F.pad(x.mT, (4, 0)), KERNEL[:, :1], groups=D, dilation=2).mT,
    "a convolution with a dead tap": lambda x: F.conv1d(x.mT, KERNEL * torch.tensor([1.0, 1.0, 0.0]), padding=1).mT,
    "a transposed convolution": lambda x: F.conv_transpose1d(x.mT, KERNEL, stride=2).mT,
    "layer norm": lambda x: F.layer_norm(x, (D,)),
    "rms norm": lambda x: F.rms_norm(x, (D,)),
    "group norm over time": lambda x: F.group_norm(x.mT, 1).mT,
    "batch norm in training": lambda x: F.batch_norm(x[0], None, None, training=True)[None],
    "chunks": lambda x: F.pad(x, (0, 0, 0, 1)).reshape(1, 4, 2, D).mean(2).repeat_interleave(2, 1)[:, :N],
    "writing in place": written_in_place,
    "reading by a constant index": lambda x: x[:, torch.tensor([3, 1, 4, 1, 5, 0, 2])],
    "shifting": lambda x: torch.cat([torch.zeros(1, 1, D), x[:, :-1]], 1),
    "stacking and interleaving": lambda x: torch.stack([x, x.flip(1)], 2).flatten(1, 2),
    "complex rotation": complex_rotation,
    "routing by a mask": routed,
    "recurrence": lstm,
    "max pooling": lambda x: F.max_pool1d(F.pad(x.mT, (1, 0)), 2, 1).mT,
    "a dispatch trace_function one_hot": lambda x: F.one_hot(x.argmax(-1), D).double() * 1.0 + x,
    "a triangular solve": lambda x: torch.linalg.solve_triangular(
        torch.eye(N).double() + 0.5 * MASK.mT.double(), x, upper=False
    ),
    "detached statistics": lambda x: x - x.detach().mean(1, keepdim=True),
    "a copied gate": lambda x: x * x.new_zeros(1, N, D).copy_(x.cumsum(1)).sigmoid(),
}


def by_hand(scores):
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("name", EXACT)
def test_a_rule_finds_exactly_what_brute_force_finds(name):
    x = fed(3)
    latest, truth = traced(EXACT[name], x), measured(EXACT[name], x)
    assert torch.equal(latest, truth), (latest.amax(-1), truth.amax(-1))


# Of these brute force at one input sees less than could ever flow, so they are only bounded from below.
SAFE = {
    "ranking": lambda x: x.sort(1).values + x.topk(2, 1).values.sum(1, keepdim=True),
    "choice of the largest": lambda x: x.gather(1, x.argmax(1, keepdim=True).expand(1, N, D)),
    "counting": lambda x: (x[:, :, None] > x[:, None]).sum(2).double(),
    "rank among the past": lambda x: ((x[:, None, :, 0] < x[:, :, None, 0]) & ~MASK).sum(2).double(),
    "any and all": lambda x: torch.stack([(x > 1).any(1), (x > -1).all(1)], 1).double(),
    "clamping by others": lambda x: torch.minimum(x, x.flip(1)).clamp(-1, 1),
    "rounding": lambda x: x.cumsum(1).round(),
    "writing where a choice says": lambda x: (
        torch.zeros(1, N, N).double().scatter(2, x.argmax(1, keepdim=True).expand(1, N, D), 1.0)
    ),
    "writing by computed index": lambda x: torch.zeros(N, D).double().index_put((x[0].argmax(0),), x[0, :D])[None],
    "adding by computed index": lambda x: torch.zeros(N, D).double().index_add(0, x[0].argmax(0), x[0, :D])[None],
    "filling under a mask": lambda x: x.clone().masked_fill_(x.flip(1) > 0, 0.0),
    "assigning under a mask": lambda x: assigned_under_a_mask(x),
    "fourier convolution": lambda x: torch.fft.irfft(torch.fft.rfft(x, n=2 * N, dim=1), n=2 * N, dim=1)[:, :N],
    "standardising": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "searching": lambda x: torch.searchsorted(x.mT.contiguous().sort(-1).values, x.mT.contiguous()).double(),
    "norms": lambda x: x / torch.linalg.vector_norm(x, dim=1, keepdim=True),
    "an operation without a rule": lambda x: torch.linalg.inv(x.mT @ x) + 0 * x[:, :1],
}


def assigned_under_a_mask(x):
    y = x.clone()
    y[x.flip(1) > 0] = 1.0
    return y


@pytest.mark.parametrize("name", SAFE)
def test_a_rule_misses_nothing_that_brute_force_finds(name):
    x = fed(4)
    assert (traced(SAFE[name], x) >= measured(SAFE[name], x, changes=10)).all()


UNARY = {
    "keep": lambda x: x,
    "square": lambda x: x * x,
    "relu": lambda x: x.relu(),
    "flip": lambda x: x.flip(1),
    "shift": lambda x: F.pad(x, (0, 0, 1, 0))[:, :N],
    "running": lambda x: x.cumsum(1) / N,
    "ranked": lambda x: x.sort(1).values,
    "normed": lambda x: F.layer_norm(x, (D,)),
    "lower": lambda x: torch.ones(N, N, dtype=x.dtype).tril() @ x / N,
    "masked": lambda x: x.masked_fill(torch.arange(N)[:, None] % 3 == 0, 0.0),
    "hidden": lambda x: x.masked_fill(torch.arange(D) == 1, -math.inf).softmax(-1),
    "early": lambda x: x[:, :2].mean(1, keepdim=True).expand(1, N, D),
    "strided": lambda x: x.mT.contiguous().mT,
    "written": written_in_place,
    "float": lambda x: x.float().double(),
}
BINARY = {
    "sum": lambda x, y: x + y,
    "product": lambda x, y: x * y,
    "choice": lambda x, y: torch.where(x > 0, x, y),
    "constant choice": lambda x, y: torch.where(MASK[:, :D], x, y),
    "attention": lambda x, y: softmax_of(scores(x) + LOW) @ y,
    "decided attention": lambda x, y: (
        softmax_of(scores(x).masked_fill(MASK | (y[..., :1] > 0) & ~torch.eye(N).bool(), -math.inf)) @ y
    ),
    "picked": lambda x, y: x.gather(1, y.argmax(2, keepdim=True).expand(1, N, D)),
    "joined": lambda x, y: torch.cat([x[:, :3], y[:, 3:]], 1),
}
STEP = st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 9), st.integers(0, 9))


def program(steps):
    def run(x):
        pool = [x]
        for name, first, second in steps:
            one, two = pool[first % len(pool)], pool[second % len(pool)]
            pool.append(UNARY[name](one) if name in UNARY else BINARY[name](one, two))
        return pool[-1]

    return run


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=1, max_size=7), st.integers(0, 99))
def test_no_program_of_operations_has_an_element_that_depends_on_a_token_later_than_its_label(steps, seed):
    x = fed(seed)
    function = program(steps)
    assert (traced(function, x) >= measured(function, x, changes=4)).all()


def choice_after_routing(x):
    best = routed(x).sum(-1).topk(2, -1).indices
    return torch.zeros(1, N, dtype=x.dtype).scatter(1, best, 1.0)


def choice_among_packed(x):
    rows = (x[0, :, 0] > -1).nonzero().squeeze(-1)
    best = x[0, :, 1][rows].topk(2).indices
    return torch.zeros(N, dtype=x.dtype).index_fill(0, rows[best], 1.0)


@pytest.mark.parametrize("function", [choice_after_routing, choice_among_packed])
def test_a_choice_made_after_packing_still_decides_about_every_cell(function):
    assert (traced(function, fed()) == N - 1).all()


def written_out(x):
    y = torch.empty_like(x)
    torch.cat([x[:, 1:], x[:, :1]], 1, out=y)
    return torch.add(y, 1, out=torch.empty_like(x))


def listed(x):
    first, second = torch._foreach_mul([x, x.flip(1)], 2.0)
    torch._foreach_add_([first], [second])
    return first


@pytest.mark.parametrize("function", [written_out, listed])
def test_unusual_forms_of_operations_lose_nothing(function):
    assert (traced(function, fed()) >= measured(function, fed())).all()


def test_dividing_masked_scores_by_what_comes_later_keeps_the_later_label():
    function = lambda x: ((scores(x) + MASK * -1e9) / (1 + x.square().mean((1, 2), keepdim=True))).softmax(-1)  # noqa: E731
    truth = measured(function, fed())
    assert (traced(function, fed())[truth >= 0] == N - 1).all()


def test_what_a_mask_hides_from_a_later_row_still_affects_its_own():
    function = lambda x: (scores(x) + MASK.mT * -1e9).softmax(-1) @ x  # noqa: E731
    assert torch.equal(traced(function, fed()), measured(function, fed()))


def test_an_operation_without_a_rule_is_named_and_takes_the_latest_of_its_inputs():
    tracer = Tracer(None)
    latest = traced(lambda x: torch.linalg.inv(x[:, :3].mT @ x[:, :3]), fed(), tracer)
    assert [name.split(".")[1] for name in tracer.notes.unknown] == ["linalg_inv_ex"]
    assert (latest == 2).all()


def test_the_result_of_a_traced_operation_is_that_of_the_untraced_one():
    x = fed(8)
    for function in EXACT.values():
        out, _ = trace_function(Tracer(None), function, x, torch.arange(N)[None])
        assert torch.allclose(out, function(x.clone()), equal_nan=True)


def test_counting_a_finite_mask_as_a_mask_is_recorded_as_an_assumption():
    for function, assumed in ((EXACT["attention with a huge finite mask"], 1), (EXACT["masked attention"], 0)):
        tracer = Tracer(None)
        traced(function, fed(), tracer)
        assert len(tracer.notes.assumptions) == assumed


def test_a_token_dependent_value_never_counts_as_a_mask_however_low_it_is():
    def low(x):
        return attention(softmax_of(torch.where(MASK, -1e9 * (1 + x[..., :1].square()), scores(x))), x)

    assert torch.equal(measured(low, fed()), measured(EXACT["masked attention"], fed()))
    assert (traced(low, fed()) == N - 1).all()


def test_packing_by_a_mask_is_recorded_as_an_assumption():
    tracer = Tracer(None)
    traced(routed, fed(), tracer)
    assert any("packed" in text for text in tracer.notes.assumptions)


def test_values_that_leave_for_python_are_noted_with_their_line():
    def escaping(x):
        if x[0, 0, 0].item() > 100:
            return x
        return x + torch.tensor(x[0, :, 0].tolist())[:, None]

    tracer = Tracer(None)
    traced(escaping, fed(), tracer)
    noted = [(e.how, e.silent, e.frame.function, 100 in e.constants) for e in tracer.escapes]
    assert noted == [("_local_scalar_dense", False, "escaping", True), ("tolist", True, "escaping", True)]
    assert tracer.escapes[0].latest < tracer.escapes[1].latest


def test_numbers_that_tokens_are_compared_with_are_noted_in_their_order():
    ids = torch.arange(6).view(1, 6)

    def comparing(ids):
        found = (ids == 4) | torch.isin(ids, torch.tensor([3, 2])) | (torch.arange(6) == 5)
        return found & (ids.cumsum(1) >= 11) & (ids.double() > 7)

    tracer = Tracer(None)
    trace_function(tracer, comparing, ids, torch.arange(6).expand(1, 6))
    assert list(tracer.compared) == [4, 3, 2, 11]


def test_constants_that_leave_for_python_are_not_noted():
    tracer = Tracer(None)
    traced(
        lambda x: x * torch.arange(3).tolist()[1] * int(torch.ones(1).numpy()[0]) * torch.ones(1).item(), fed(), tracer
    )
    assert not tracer.escapes


def test_tracing_leaves_the_switches_of_torch_as_they_were():
    before = torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()
    traced(EXACT["fused attention"], fed())
    assert (torch._C._get_mkldnn_enabled(), torch.backends.mha.get_fastpath_enabled()) == before
