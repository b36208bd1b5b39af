"""Differences and floors: an enormous element hides no other, and fewer bits tell leak from rounding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from audits import audit
from audits.instruments.noise_floor import FAR, far, max_abs_diff, scale_of
from audits.results import LeakClass, Verdict
from audits.subject.fewer_bits import FewerBits

VOCAB, WIDTH, LENGTH = 24, 16, 24


def outputs(rows: int = 2, length: int = 6, features: int = 50) -> Tensor:
    return torch.randn(rows, length, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_ordinary_outputs_are_compared_as_they_are():
    a = outputs()
    b = a.clone()
    b[1, 2, 3] += 0.25
    expected = torch.zeros(2, 6, dtype=torch.float64)
    expected[1, 2] = 0.25
    assert torch.allclose(max_abs_diff(a, b), expected)
    assert scale_of(a) == float(a.abs().max())


@pytest.mark.parametrize("fill", [-1e9, torch.finfo(torch.float64).min, -math.inf])
@pytest.mark.parametrize("at", ["a token", "most tokens", "a place of its own at each position"])
def test_enormous_elements_raise_no_floor_and_hide_no_difference(fill, at):
    a = outputs()
    chosen = {"a token": slice(7, 8), "most tokens": slice(7, None)}
    if at in chosen:
        a[..., chosen[at]] = fill
    else:
        a[:, torch.arange(6), torch.arange(6)] = fill
    b = a.clone()
    b[0, 3, 6] += 1e-3
    assert scale_of(a) < 1e3
    assert float(max_abs_diff(a, b)[0, 3]) == pytest.approx(1e-3)
    assert int(max_abs_diff(a, b).count_nonzero()) == 1


def test_a_mask_that_is_added_to_most_tokens_raises_no_floor():
    a = outputs()
    a[..., 20:] -= 1e9
    b = a.clone()
    b[0, 3, 6] += 1e-3
    assert scale_of(a) < 1e3
    assert float(max_abs_diff(a, b)[0, 3]) == pytest.approx(1e-3)


def test_an_enormous_element_counts_relative_to_its_own_size():
    a = outputs()
    a[..., 7] = -1e9
    b = a.clone()
    b[0, 0, 7] *= 1 + 1e-12
    assert float(max_abs_diff(a, b).max()) == pytest.approx(1e-12 * far(a), rel=1e-3)
    b[0, 0, 7] = 0.0
    assert float(max_abs_diff(a, b).max()) == pytest.approx(far(a))


def test_not_a_number_against_a_number_is_an_infinite_difference():
    a = outputs()
    a[0, 0, 0] = a[0, 1, 1] = math.nan
    b = a.clone()
    b[0, 1, 1] = 1.0
    assert max_abs_diff(a, b)[0, :2].tolist() == [0.0, math.inf]


def test_the_typical_size_is_that_of_distinct_values_other_than_zero():
    a = torch.zeros(1, 4, 100, dtype=torch.float64)
    a[..., :5] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert far(a) == 2 * FAR
    assert far(torch.zeros(1, 4, 100)) == math.inf


def test_fewer_bits_leave_what_is_exact_and_keep_order_and_ties():
    lowest = torch.finfo(torch.float64).min
    values = torch.tensor([0.0, 1.0, -3.5, math.inf, 1 / 3, 1 / 3 + 2**-53, 0.7, lowest], dtype=torch.float64)
    with FewerBits(5, 0.5, None):
        rounded = values * 1
    assert rounded[:4].tolist() == values[:4].tolist()
    assert bool(rounded.isfinite()[4:].all())
    assert (rounded - values).abs()[4:7].max() <= 2.0**-48
    assert rounded[4:7].sort().values.equal(rounded[4:7])
    with FewerBits(5, 0.5, None):
        assert (rounded * 1).equal(rounded)  # what was rounded stays


def test_weights_lose_bits_of_the_dtype_in_which_they_were_made_and_buffers_are_still_written():
    weight, cache = torch.full((3,), 1 / 3, dtype=torch.float32).double(), torch.zeros(2, 3, dtype=torch.float64)
    with FewerBits(5, 0.0, torch.float32):
        product = weight * 1
        cache[1] = weight
        copied = cache.clone()
    assert 2.0**-26 < float((product - weight).abs().max()) < 2.0**-19
    assert copied[1].any()
    assert cache[1].any()


class Norms(nn.Module):
    """A causal convolution by FFT, then a norm in float32 whatever the dtype."""

    def __init__(self, late: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.late = late
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.kernel = nn.Parameter(100 * torch.randn(WIDTH, LENGTH))

    def forward(self, tokens: Tensor) -> Tensor:
        x, n = self.embedding(tokens), tokens.shape[1]
        spectrum = torch.fft.rfft(x.mT, n=2 * n) * torch.fft.rfft(self.kernel[:, :n], n=2 * n)
        y = torch.fft.irfft(spectrum, n=2 * n)[..., :n].mT + self.late * x.mean(1, keepdim=True)
        normed = y.float() * torch.rsqrt(y.float().pow(2).mean(-1, keepdim=True))
        return self.head(x + normed.to(x.dtype))


class FromTheEnd(nn.Module):
    """Rotary attention by float32 tables that count from the end, so that another length reads other angles."""

    def __init__(self, late: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.late = late
        self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        angles = torch.arange(2.0 * LENGTH)[:, None] * torch.exp(-torch.arange(0, WIDTH, 2) / 4)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, tokens: Tensor) -> Tensor:
        x, n = self.embedding(tokens), tokens.shape[1]
        cos, sin = self.cos[:n].flip(0), self.sin[:n].flip(0)
        a, b = x.chunk(2, -1)
        turned = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
        scores = (turned @ turned.mT).masked_fill(torch.ones(n, n).triu(1).bool(), -math.inf)
        return self.head(scores.softmax(-1) @ x * (1 + self.late * n))


@pytest.mark.parametrize("model", [Norms, FromTheEnd])
def test_rounding_beside_coarser_parts_and_other_tables_is_no_leak(model):
    result = audit(model(), seq_len=LENGTH)
    assert result.verdict is Verdict.PASS, [(probe.name, probe.why) for probe in result.probes]


@pytest.mark.parametrize(("model", "late", "named"), [(Norms, 1e-3, "dense"), (FromTheEnd, 1e-4, "length")])
def test_small_leaks_beside_such_rounding_are_found(model, late, named):
    result = audit(model(late), seq_len=LENGTH, probes=["perturbation", "gradient", "prefix-length"])
    assert result.verdict is Verdict.LEAK
    assert {finding.leak_class for finding in result.findings} == {LeakClass(named)}
