"""The selective scan: every implementation against the formula, in outputs and in all gradients."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import torch
from torch.nn import functional as F

from hubrouter import ConfigError
from hubrouter.config import SCANS
from hubrouter.selective_scan import IMPLEMENTATIONS, ScanInputs, selective_scan

BATCH, INNER, STATES, CHUNK = 2, 6, 2, 4
MAMBA_1, MAMBA_2, ONE_HEAD = INNER, 3, 1  # rows of delta
LENGTHS = [1, 3, 4, 5, 8, 17]
CASES = [(impl, rows) for impl in ("loop", "unbind", "chunked") for rows in (MAMBA_1, MAMBA_2, ONE_HEAD)]
CASES += [("matmul", MAMBA_2), ("matmul", ONE_HEAD)]

each_case = pytest.mark.parametrize(("impl", "rows"), CASES)


def draw(length, rows, size=1.0, seed=0, dtype=torch.float64):
    """Leaves x, delta, a, b, c and the first state; step sizes about `size`."""
    gen = torch.Generator().manual_seed(seed)
    rates = STATES if rows == MAMBA_1 else 1
    normal = [(BATCH, length, INNER), (BATCH, length, rows), (rows, rates), (BATCH, length, STATES)]
    x, delta, a, b = (torch.randn(shape, generator=gen, dtype=torch.float64) for shape in normal)
    c = torch.randn(b.shape, generator=gen, dtype=torch.float64)
    first = torch.randn(BATCH, INNER, STATES, generator=gen, dtype=torch.float64)
    leaves = [x, F.softplus(delta) * size, -a.exp() * 2, b, c, first]
    return [leaf.to(dtype).requires_grad_() for leaf in leaves]


def by_formula(x, delta, a, b, c, first):
    """The definition, one channel and one state at a time."""
    batch, length, inner = x.shape
    width, rates = inner // delta.shape[2], a.expand(-1, STATES)
    outputs, last = [], []
    for i in range(inner):
        row, y = i // width, torch.zeros(batch, length, dtype=x.dtype)
        for s in range(STATES):
            h, seen = first[:, i, s], []
            for t in range(length):
                step = delta[:, t, row]
                h = torch.exp(step * rates[row, s]) * h + step * b[:, t, s] * x[:, t, i]
                seen.append(h * c[:, t, s])
            y = y + torch.stack(seen, 1)
            last.append(h)
        outputs.append(y)
    return torch.stack(outputs, 2), torch.stack(last, 1).unflatten(1, (inner, STATES))


def outcome(run, leaves):
    """Outputs, last state, and the gradients of a fixed random functional of both."""
    y, state = run(*leaves)
    gen = torch.Generator().manual_seed(9)
    weights = [torch.randn(t.shape, generator=gen, dtype=torch.float64).to(t.dtype) for t in (y, state)]
    loss = (y * weights[0]).sum() + (state * weights[1]).sum()
    return [y, state, *torch.autograd.grad(loss, leaves)]


def by(impl, chunk=CHUNK):
    return lambda *leaves: selective_scan(ScanInputs(*leaves[:5]), leaves[5], impl=impl, chunk=chunk)


def agree(found, wanted, tolerance=1e-12):
    """Relative to the largest entry of each tensor."""
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * max(1.0, float(other.detach().abs().max())))


@each_case
@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_states_and_all_gradients_equal_the_formula(impl, rows, length):
    leaves = draw(length, rows)
    agree(outcome(by(impl), leaves), outcome(by_formula, leaves))


@each_case
@pytest.mark.parametrize("size", [1e-6, 30.0, 1e6])
def test_that_holds_for_tiny_and_huge_steps(impl, rows, size):
    leaves = draw(11, rows, size)
    agree(outcome(by(impl), leaves), outcome(by_formula, leaves))


@each_case
def test_one_huge_step_among_small_ones_keeps_later_tokens_accurate(impl, rows):
    leaves = draw(11, rows, 0.1)
    with torch.no_grad():
        leaves[1][:, 1] = 1e9
    agree(outcome(by(impl, chunk=8), leaves), outcome(by_formula, leaves))


@each_case
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 11, 64])
def test_the_chunk_size_never_matters(impl, rows, chunk):
    leaves = draw(11, rows)
    agree(outcome(by(impl, chunk), leaves), outcome(by("loop"), leaves))


@each_case
def test_the_gradients_are_those_of_finite_differences(impl, rows):
    assert torch.autograd.gradcheck(by(impl, 2), draw(3, rows), fast_mode=True)


@each_case
def test_without_a_first_state_the_scan_starts_from_zero(impl, rows):
    leaves = draw(7, rows)
    y, state = selective_scan(ScanInputs(*leaves[:5]), impl=impl, chunk=CHUNK)
    wanted = by(impl)(*leaves[:5], torch.zeros_like(leaves[5]))
    assert torch.equal(y, wanted.y)
    assert torch.equal(state, wanted.state)


@each_case
def test_a_scan_continues_from_an_earlier_state_and_so_do_gradients(impl, rows):
    def in_two(x, delta, a, b, c, first):
        parts = [tensor.split([5, 6], 1) for tensor in (x, delta, b, c)]
        outputs = []
        for x_, delta_, b_, c_ in zip(*parts, strict=True):
            y, first = by(impl)(x_, delta_, a, b_, c_, first)
            outputs.append(y)
        return torch.cat(outputs, 1), first

    leaves = draw(11, rows)
    agree(outcome(in_two, leaves), outcome(by(impl), leaves))


@torch.no_grad()
@each_case
def test_a_token_of_step_zero_does_not_change_the_state(impl, rows):
    x, delta, a, b, c, first = draw(7, rows)
    delta[:, 3:] = 0
    full = by(impl)(x, delta, a, b, c, first)
    short = by(impl)(x[:, :3], delta[:, :3], a, b[:, :3], c[:, :3], first)
    torch.testing.assert_close(full.state, short.state, rtol=0, atol=1e-14)


@torch.no_grad()
@each_case
def test_no_output_changes_when_later_tokens_change(impl, rows):
    leaves = draw(11, rows)
    before = by(impl)(*leaves).y
    for cut in range(1, 11):
        x, delta, a, b, c, first = (leaf.clone() for leaf in leaves)
        for tensor in (x, delta, b, c):
            tensor[:, cut:] *= 100
        after = by(impl)(x, delta, a, b, c, first).y
        assert torch.equal(after[:, :cut], before[:, :cut])
        assert not torch.equal(after[:, cut:], before[:, cut:])


@torch.no_grad()
@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_computed_in_float32_and_returned_in_its_dtype(impl, rows, dtype):
    leaves = draw(19, rows, dtype=dtype)
    y, state = by(impl)(*leaves)
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    exact = by_formula(*(leaf.double() for leaf in leaves))
    torch.testing.assert_close(state.double(), exact[1], rtol=0, atol=1e-5 * float(exact[1].abs().max()))
    torch.testing.assert_close(y, exact[0].to(dtype), rtol=2 * torch.finfo(dtype).eps, atol=1e-4)


@torch.no_grad()
def test_autocast_does_not_lower_the_precision_of_the_state():
    leaves = draw(11, MAMBA_1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = by("chunked")(*leaves)
    assert torch.equal(cast.y, by("chunked")(*leaves).y)


def test_the_configuration_lists_the_implementations():
    assert set(SCANS) == set(IMPLEMENTATIONS)


def test_an_unknown_implementation_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"^scan='fast' is unknown; known are \['chunked', 'fused', 'loop', "):
        by("fast")(*draw(3, MAMBA_1))


def test_the_matrix_form_refuses_a_rate_for_each_state():
    with pytest.raises(ConfigError, match=r"^scan='matmul' needs one decay a head \(Mamba-2\): set ssm_heads"):
        by("matmul")(*draw(3, MAMBA_1))


def without_mamba(monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)


@pytest.mark.parametrize("rows", [MAMBA_1, MAMBA_2])
def test_the_kernels_are_refused_in_one_line_where_mamba_ssm_is_absent(rows, monkeypatch):
    without_mamba(monkeypatch)
    with pytest.raises(
        ConfigError, match=r"^scan='fused' needs mamba-ssm \(.*\): pip install 'hubrouter-audit\[mamba\]'"
    ):
        by("fused")(*draw(3, rows))


def pretend_mamba(monkeypatch, on_cpu):
    """mamba-ssm's two functions by the formula: checks the layout of their arguments, not that they work."""

    def selective_scan_fn(u, delta, a, b, c, return_last_state):
        assert return_last_state
        assert all(tensor.is_contiguous() for tensor in (u, delta, a, b, c))
        start = u.new_zeros(u.shape[0], u.shape[1], b.shape[1])
        y, state = by_formula(u.mT, delta.mT, a, b.mT, c.mT, start)
        return y.mT, state

    def mamba_chunk_scan_combined(x, dt, a, b, c, chunk, initial_states, return_final_states):
        assert return_final_states
        assert chunk == CHUNK
        start = x.new_zeros(BATCH, INNER, STATES) if initial_states is None else initial_states.flatten(1, 2)
        y, state = by_formula(x.flatten(2), dt, a[:, None], b[:, :, 0], c[:, :, 0], start)
        return y.unflatten(2, x.shape[2:]), state.unflatten(1, x.shape[2:])

    made = {
        "mamba_ssm": types.ModuleType("mamba_ssm"),
        "mamba_ssm.ops": types.ModuleType("mamba_ssm.ops"),
        "mamba_ssm.ops.triton": types.ModuleType("mamba_ssm.ops.triton"),
        "mamba_ssm.ops.selective_scan_interface": types.SimpleNamespace(selective_scan_fn=selective_scan_fn),
        "mamba_ssm.ops.triton.ssd_combined": types.SimpleNamespace(mamba_chunk_scan_combined=mamba_chunk_scan_combined),
    }
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
    if on_cpu:
        monkeypatch.setattr(importlib.import_module("hubrouter.selective_scan.fused"), "DEVICE", "cpu")


def test_the_kernels_are_refused_in_one_line_away_from_cuda(monkeypatch):
    pretend_mamba(monkeypatch, on_cpu=False)
    with pytest.raises(ConfigError, match=r"^scan='fused' needs a cuda device, not 'cpu': choose scan='chunked'$"):
        by("fused")(*draw(3, MAMBA_1))


@pytest.mark.parametrize("rows", [MAMBA_1, MAMBA_2])
def test_the_kernels_receive_their_layouts(rows, monkeypatch):
    pretend_mamba(monkeypatch, on_cpu=True)
    leaves = draw(7, rows)
    for first in (leaves[5], None):
        found = selective_scan(ScanInputs(*leaves[:5]), first, impl="fused", chunk=CHUNK)
        wanted = by_formula(*leaves[:5], torch.zeros_like(leaves[5]) if first is None else first)
        torch.testing.assert_close(found.y, wanted[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(found.state, wanted[1], rtol=0, atol=1e-12)


def test_a_gradient_that_the_kernel_leaves_out_is_refused(monkeypatch):
    pretend_mamba(monkeypatch, on_cpu=True)
    _, state = by("fused")(*draw(7, MAMBA_1))
    with pytest.raises(ConfigError, match=r"^mamba-ssm does not differentiate the last state"):
        state.sum().backward()
