"""No false positives: causal models of every odd kind pass, in every precision."""

from __future__ import annotations

from collections.abc import Callable

import auditor_models as models
import pytest
import torch
import torch.nn.functional as F
from auditor_models import LENGTH, VOCAB, WIDTH, Attention, Tokens
from torch import Tensor, nn

from audits import audit
from audits.results import AuditResult, Verdict
from audits.subject.prepare import prepare
from audits.subject.settings import Settings

MIXERS = {
    "attention": Attention,
    "encoder with a fast path": models.FastPath,
    "lstm": models.Recurrent,
    "convolution by FFT": models.Fourier,
    "total minus suffix": models.TotalMinusSuffix,
    "large offset": models.LargeOffset,
    "token-choice experts": models.TokenChoice,
    "experts that some token chose": models.HitExperts,
    "experts with dropout": models.DropoutExperts,
    "float32 islands": models.CoarseIsland,
    "float32 scans": models.CoarseScan,
    "dropout in evaluation": models.AlwaysDropout,
    "own random generator": models.OwnGenerator,
    "global random generators": models.GlobalGenerators,
    "no deep copy": models.Locked,
    "stores its activations": models.KeepsEverything,
    "writes into its input": models.InPlace,
    "one row only": models.OneRow,
    "five rows at most": models.AtMostFiveRows,
    "multiples of eight only": models.MultiplesOfEight,
    "one length only": models.OneLength,
}


def result_of(model: object, **options: object) -> AuditResult:
    torch.manual_seed(0)
    return audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, **options})


def build(mixer: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return Tokens(mixer())


def summary(result: AuditResult) -> str:
    undecided = [f"{p.name}: {p.why}" for p in result.probes if p.verdict is Verdict.UNDETERMINED and p.applicable]
    return f"{[(f.probe, f.leak_class, f.effect, f.noise_floor) for f in result.findings]} {undecided}"


@pytest.mark.parametrize("name", MIXERS)
def test_a_causal_model_passes(name):
    result = result_of(build(MIXERS[name]))
    assert result.verdict is Verdict.PASS, summary(result)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["attention", "total minus suffix", "token-choice experts", "float32 islands"])
def test_a_causal_model_passes_in_coarse_precision(name, dtype):
    result = result_of(build(MIXERS[name]), dtype=dtype)
    assert result.verdict is Verdict.PASS, summary(result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_causal_model_of_half_precision_passes(dtype):
    assert result_of(build(Attention).to(dtype)).verdict is Verdict.PASS


def convolution(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    kernel = torch.linspace(1, 0.1, 4 * LENGTH, dtype=dtype)[:, None]

    def convolve(x: Tensor) -> Tensor:
        n = x.shape[1]
        spectrum = torch.fft.rfft(1e3 * x.to(dtype), n=2 * n, dim=1) * torch.fft.rfft(kernel[:n], n=2 * n, dim=0)
        return torch.fft.irfft(spectrum, n=2 * n, dim=1)[:, :n]

    return convolve


def test_rounding_of_a_plain_function_is_recognised_in_float64():
    result = result_of(convolution(torch.float64), input="features", width=WIDTH)
    assert result.verdict is Verdict.PASS, summary(result)


def test_rounding_of_a_plain_function_that_casts_to_float32_is_not_called_a_leak():
    result = result_of(convolution(torch.float32), input="features", width=WIDTH)
    assert result.verdict is Verdict.UNDETERMINED
    assert "rounding and leak cannot be distinguished" in result.probes[0].why


def test_a_diagonal_state_space_model_with_complex_weights_passes():
    class Diagonal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(0.9 * torch.exp(1j * torch.linspace(0, 3, WIDTH)))

        def forward(self, x: Tensor) -> Tensor:
            state, states = torch.zeros_like(x[:, 0]), []
            for given in x.unbind(1):
                state = self.rate * state + given
                states.append(state)
            return torch.stack(states, dim=1).real

    torch.manual_seed(0)
    model = Tokens(Diagonal())
    subject = prepare(model, Settings(seq_len=8))
    assert torch.allclose(subject.run(subject.base()).float(), model(subject.base()), atol=1e-4)
    result = result_of(model)
    assert result.verdict is Verdict.PASS, summary(result)


@pytest.mark.parametrize("kind", ["object", "tuple", "dict", "integers", "bool", "complex"])
def test_every_way_to_return_outputs_is_understood(kind):
    assert result_of(models.Returns(kind, causal=True)).verdict is Verdict.PASS
    assert result_of(models.Returns(kind, causal=False)).verdict is Verdict.LEAK


@pytest.mark.parametrize("model", [models.OneHot, models.TimeFirst])
def test_tokens_looked_up_in_unusual_ways_pass(model):
    torch.manual_seed(0)
    result = result_of(model(causal=True))
    assert result.verdict is Verdict.PASS, summary(result)
    assert next(p for p in result.probes if p.name == "gradient").verdict is Verdict.PASS


def test_zero_weights_that_hide_nothing_do_not_spoil_a_pass():
    torch.manual_seed(0)
    result = result_of(Tokens(models.HiddenByZero(causal=True)))
    assert result.verdict is Verdict.PASS, summary(result)
    assert "all-zero weights set to small values" in result.probes[0].why


def test_a_zero_head_is_judged_by_a_copy_in_which_it_is_not():
    model = Tokens(Attention())
    nn.init.zeros_(model.head.weight)
    result = result_of(model)
    assert result.verdict is Verdict.PASS, summary(result)
    assert "all-zero weights (head.weight) silence the outputs" in result.probes[0].why


def test_tokens_that_are_never_predicted_hide_nothing():
    class Padded(Tokens):
        def forward(self, tokens):
            return super().forward(tokens).masked_fill(torch.arange(VOCAB) > 20, float("-inf"))

    result = result_of(Padded(Attention()))
    assert result.verdict is Verdict.PASS, summary(result)


def test_random_numbers_that_depend_on_the_shape_are_no_leak():
    class Transposed(models.Mixer):
        def after(self, y, x):
            return F.dropout(y.mT.contiguous(), 0.3, training=True).mT

    result = result_of(build(Transposed))
    assert result.verdict is Verdict.UNDETERMINED, summary(result)
    assert all("draws random numbers" in p.why for p in result.probes if p.applicable and p.verdict is not Verdict.PASS)


def test_randomness_that_cannot_be_pinned_is_said_and_neither_passes_nor_leaks():
    result = result_of(build(models.Unpinned))
    assert result.verdict is Verdict.UNDETERMINED, summary(result)
    assert all("cannot be pinned" in p.why or "randomness" in p.why for p in result.probes if p.applicable), summary(
        result
    )


def test_a_leak_far_above_unpinned_randomness_is_still_a_leak():
    class Both(models.Unpinned):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            return super().after(y, x) + x.flip(1)

    result = result_of(build(Both))
    assert "perturbation" in {finding.probe for finding in result.findings}, summary(result)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


class NotANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan")


@pytest.mark.parametrize("model", [Constant, NotANumber])
def test_models_that_show_nothing_do_not_pass(model):
    result = result_of(model(), input="features", width=WIDTH)
    assert result.verdict is Verdict.UNDETERMINED


def test_infinities_of_a_later_token_do_not_count_against_the_earlier_ones():
    class Undefined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Tokens(Attention())

        def forward(self, tokens: Tensor) -> Tensor:
            rare = tokens == 500  # of a vocabulary so large that the base does not hold it
            return self.model(tokens % VOCAB).masked_fill(rare[..., None], float("nan"))

    torch.manual_seed(0)
    assert result_of(Undefined(), vocab_size=512, probes=["perturbation"]).verdict is Verdict.PASS


def test_a_model_that_cannot_be_differentiated_is_judged_by_the_other_probes():
    class Overwrites(models.Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            z = torch.sigmoid(y)
            w = z * 2
            z.add_(1)
            return w + z

    result = result_of(build(Overwrites))
    gradient = next(p for p in result.probes if p.name == "gradient")
    assert result.verdict is Verdict.PASS, summary(result)
    assert not gradient.applicable
    assert "cannot be differentiated" in gradient.why
