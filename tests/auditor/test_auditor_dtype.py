"""Leaks that exist in one dtype only: found by default, and distinguished from the rounding of that dtype."""

from __future__ import annotations

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Tokens
from torch import Tensor, nn

from audits import audit
from audits.results import AuditResult, LeakClass, ProbeResult, Verdict
from audits.subject.force_float64 import SpoofDtype, force_float64
from audits.subject.operations import operations
from audits.subject.prepare import float64_reference, prepare, with_dtype
from audits.subject.settings import Settings


class LeaksIn(models.Mixer):
    """Sees the future in some dtypes, by `size`."""

    def __init__(self, *dtypes: torch.dtype, size: float = 0.1) -> None:
        super().__init__()
        self.dtypes, self.size = dtypes, size

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + self.size * x.flip(1).cumsum(1).flip(1) if x.dtype in self.dtypes else y


def build(*dtypes: torch.dtype, size: float = 0.1) -> nn.Module:
    torch.manual_seed(0)
    return Tokens(LeaksIn(*dtypes, size=size))


def result_of(model: object, **options: object) -> AuditResult:
    return audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, **options})


def dtype_probe(result: AuditResult) -> ProbeResult:
    return next(probe for probe in result.probes if probe.name == "dtype")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_leak_in_one_dtype_is_found_by_default_and_named_and_placed(dtype):
    result = result_of(build(dtype))
    assert [(f.probe, f.leak_class, f.module) for f in result.findings] == [("dtype", LeakClass.DENSE, "mixer")]
    assert str(dtype).removeprefix("torch.") in dtype_probe(result).why


@pytest.mark.parametrize("way", ["float16", "bfloat16 by autocast", "float16 by autocast"])
def test_a_leak_in_float16_or_under_autocast_alone_is_found_and_named(way):
    class LeaksThere(models.Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            autocast = torch.is_autocast_enabled("cpu") and f"{torch.get_autocast_dtype('cpu')} by autocast"
            now = str(autocast or x.dtype).removeprefix("torch.")
            return y + 0.1 * x.flip(1) if now == way else y

    torch.manual_seed(0)
    result = result_of(Tokens(LeaksThere()))
    assert {(f.probe, f.leak_class, f.module) for f in result.findings} == {("dtype", LeakClass.DENSE, "mixer")}
    assert f"in {way}, changing position" in dtype_probe(result).why


class Jumps(models.Mixer):
    """Moves every output by 0.7 where something about the whole sequence or its end is odd."""

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.7 * self.is_odd(x).to(y.dtype)[:, None, None]


class RoundingDecides(Jumps):
    """Two ways to the same number differ: in float64 never by so much."""

    def is_odd(self, x: Tensor) -> Tensor:
        return ((x / 3).sum((1, 2)) - x.sum((1, 2)) / 3).abs() > 1e-8


class LastBitDecides(Jumps):
    """The same happens in every dtype, to other inputs in each."""

    def is_odd(self, x: Tensor) -> Tensor:
        last = x[:, -1, 0].exp()
        return last / 7 * 7 != last


def test_a_jump_in_float32_is_never_put_down_to_rounding():
    torch.manual_seed(0)
    result = result_of(Tokens(RoundingDecides()), probes=["dtype"])
    assert (result.verdict, result.findings) == (Verdict.UNDETERMINED, ())
    assert "too much for rounding" in dtype_probe(result).why


def test_a_jump_is_searched_for_in_float64():
    torch.manual_seed(4)  # none of the sequences that show it in float32 shows it in float64
    result = result_of(Tokens(LastBitDecides()), probes=["dtype"])
    assert {finding.leak_class for finding in result.findings} == {LeakClass.SELECTION}
    assert result.findings[0].effect > 0.1


def test_a_leak_in_the_half_precision_a_model_came_in_is_found():
    result = result_of(build(torch.float16).to(torch.float16))
    assert [finding.probe for finding in result.findings] == ["dtype"]


def test_a_leak_below_float32_rounding_is_distinguished_from_it_on_the_same_path_in_float64():
    assert [f.probe for f in result_of(build(torch.float32, size=1e-6)).findings] == ["dtype"]


def test_a_plain_function_that_leaks_in_float32_only_is_found():
    def function(x: Tensor) -> Tensor:
        return x if x.dtype == torch.float64 else x.flip(1)

    assert [f.probe for f in result_of(function, input="features", width=WIDTH).findings] == ["dtype"]


def test_asking_for_the_dtype_finds_the_leak_with_every_probe():
    result = result_of(build(torch.bfloat16), dtype="bfloat16")
    assert {f.leak_class for f in result.findings} == {LeakClass.DENSE}
    assert {"perturbation", "gradient", "provenance"} <= {probe for f in result.findings for probe in f.probes}
    assert not dtype_probe(result).applicable


@pytest.mark.parametrize("mixer", [models.LargeOffset, models.TotalMinusSuffix, models.Fourier, models.CoarseScan])
def test_large_rounding_in_float32_is_not_called_a_leak(mixer):
    torch.manual_seed(0)
    result = result_of(Tokens(mixer()))
    assert dtype_probe(result).verdict is Verdict.PASS
    assert "float32" in dtype_probe(result).why


def test_the_same_path_runs_in_float64_and_another_path_is_noticed():
    subject = prepare(build(torch.float32), Settings(vocab_size=VOCAB, seq_len=LENGTH))
    single = with_dtype(subject, torch.float32)
    assert single is not None
    same = float64_reference(single)
    assert same is not None
    assert same.same_path
    assert same.run(same.base()).dtype == torch.float64
    assert torch.allclose(same.run(same.base()).float(), single.run(single.base()), atol=1e-4)
    assert not torch.allclose(same.run(same.base()), subject.run(subject.base()))


def test_an_opaque_kernel_proves_no_path_the_same():
    @torch.library.custom_op("hubrouter_audit_tests::opaque", mutates_args=())
    def opaque(x: Tensor) -> Tensor:
        return x + 1

    assert operations(lambda: torch.ones(3) + 1) == ("ones", "add")
    assert operations(lambda: opaque(torch.ones(3))) is None


def test_tensors_report_another_dtype_while_they_compute_in_float64():
    with SpoofDtype(torch.bfloat16), force_float64():
        x = torch.ones(2, dtype=torch.float64)
        assert x.dtype == torch.bfloat16
        total = x.to(x.dtype) / 3
    assert total.dtype == torch.float64
    assert float(total[0]) == 1 / 3
