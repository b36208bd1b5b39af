"""Noise, refused precisions, modes and devices: never a PASS for what was hidden or not run, never a false positive."""

from __future__ import annotations

import warnings

import odd_models as odd
import pytest
import torch
from auditor_models import VOCAB, Tokens
from torch import nn

from audits import SubjectError, audit
from audits.instruments.noise_floor import noise_of
from audits.results import AuditResult, Verdict
from audits.subject.prepare import prepare
from audits.subject.settings import Settings


def audited(model: nn.Module, **options: object) -> AuditResult:
    odd.OUTSIDE.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return audit(model, **{"vocab_size": VOCAB, "seq_len": 16, **options})


def built(kind: type[odd.Odd], leak: float) -> nn.Module:
    torch.manual_seed(0)
    return Tokens(kind(leak))


PINNED = [odd.DropoutModuleOn, odd.FunctionalDropout, odd.OwnTorchGenerator, odd.GlobalNumpy]
UNPINNED = [odd.NumpyOutside, odd.SystemNoise, odd.Drifting, odd.EveryThirdOrSo]
PRECISIONS = [
    odd.RefusesDouble,
    odd.HalfInside,
    odd.HalfLayer,
    odd.Autocast,
    odd.CustomFunctionInFloat32,
    odd.CustomFunctionWithoutBackward,
]
OTHERS = [odd.InferenceOnly, odd.OneRowOnly, odd.Chatty]


@pytest.mark.parametrize("kind", [*PINNED, *PRECISIONS, *OTHERS])
def test_an_odd_model_passes_and_leaks_like_any_other(kind: type[odd.Odd]) -> None:
    clean = audited(built(kind, 0.0))
    assert clean.verdict is Verdict.PASS, clean.probes
    leaky = audited(built(kind, 0.1), probes=["perturbation"])
    assert leaky.verdict is Verdict.LEAK, leaky.probes


@pytest.mark.parametrize("kind", UNPINNED)
def test_noise_that_cannot_be_pinned_is_neither_a_pass_nor_a_leak(kind: type[odd.Odd]) -> None:
    result = audited(built(kind, 0.0))
    assert result.verdict is Verdict.UNDETERMINED, (result.findings, result.probes)
    assert result.findings == ()


@pytest.mark.parametrize("kind", UNPINNED)
@pytest.mark.parametrize("leak", [1e-6, 10.0])
def test_what_noise_hides_never_passes_and_what_it_does_not_hide_is_found(kind: type[odd.Odd], leak: float) -> None:
    result = audited(built(kind, leak), probes=["perturbation", "prefix-length"])
    assert result.verdict is not Verdict.PASS
    if leak > 1:
        assert result.verdict is Verdict.LEAK


@pytest.mark.parametrize("seed", range(6))
def test_intermittent_noise_is_no_leak(seed: int) -> None:
    model = built(odd.NowAndThen, 0.0)
    odd.OUTSIDE.seed(seed)
    result = audit(model, vocab_size=VOCAB, seq_len=16, probes=["perturbation", "isolation", "repeat-call"])
    assert result.findings == ()


def test_noise_in_training_mode_alone_is_no_leak() -> None:
    for seed in range(4):
        odd.OUTSIDE.seed(seed)
        result = audit(built(odd.NowAndThenInTraining, 0.0), vocab_size=VOCAB, seq_len=16, probes=["training-mode"])
        assert result.findings == ()


def test_noise_is_the_largest_difference_of_all_the_calls() -> None:
    """The first calls differ little, a later one much."""

    class Growing(odd.Odd):
        calls = 0

        def odd(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            Growing.calls += 1
            return y + 2.0**Growing.calls / 2**17

    torch.manual_seed(0)
    subject = prepare(Growing(), Settings("features", width=odd.WIDTH, seq_len=8))
    Growing.calls = 0
    # The first call, then eight pairs of another input and the same again: the last one is call 17.
    assert noise_of(subject) == pytest.approx(4 * (2.0**17 - 2) / 2**17, rel=1e-6)


def test_a_model_in_bfloat16_alone_is_audited_in_it() -> None:
    for leak, verdict in ((0.0, Verdict.PASS), (1.0, Verdict.LEAK)):
        result = audited(built(odd.OnlyBfloat16, leak).to(torch.bfloat16))
        assert (result.verdict, result.settings["dtype"]) == (verdict, "bfloat16"), result.probes


def test_a_model_that_mixes_dtypes_keeps_them() -> None:
    subject = prepare(built(odd.HalfLayer, 0.0), Settings(seq_len=8))
    assert {p.dtype for p in subject.module.parameters()} == {torch.float16, torch.float32}
    assert subject.dtype == torch.float32


def test_a_leak_in_a_training_mode_that_exists_in_float32_alone_is_found() -> None:
    result = audited(built(odd.InferenceOnlyInDouble, 0.0))
    assert [finding.probe for finding in result.findings] == ["training-mode"]
    assert result.settings["dtype"] == "float64"


def test_a_model_without_a_training_mode_says_so() -> None:
    result = audited(built(odd.InferenceOnly, 0.0), probes=["training-mode"])
    assert "cannot be called in training mode" in result.probes[0].why
    assert result.verdict is Verdict.UNDETERMINED


def test_a_model_that_raises_on_some_inputs_does_not_pass() -> None:
    result = audited(built(odd.Unlucky, 0.0))
    assert result.verdict is Verdict.UNDETERMINED
    assert "unlucky input" in " ".join(probe.why for probe in result.probes)


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCAB, 8), nn.LazyLinear(VOCAB)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(tokens))


CANNOT = {
    "a GPU: run it where there is one, with --device cuda": lambda: built(odd.NeedsGpu, 0.0),
    "load or initialise them": lambda: nn.Embedding(VOCAB, 4, device="meta"),
    "a factory that calls the model once": Lazy,
}


@pytest.mark.parametrize("hint", CANNOT)
def test_what_cannot_run_here_is_one_line_with_a_way_out(hint: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lazy modules are announced as experimental
        model = CANNOT[hint]()
    with pytest.raises(SubjectError) as caught:
        audit(model, vocab_size=VOCAB, seq_len=8)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="what a machine without a GPU says")
def test_without_a_gpu_models_and_options_that_need_one_are_one_line() -> None:
    with pytest.raises(SubjectError, match="with --device cuda"):
        audit(built(odd.MovesToGpu, 0.0), vocab_size=VOCAB, seq_len=8)
    with pytest.raises(SubjectError, match="device 'cuda' cannot be used here"):
        audit(built(odd.InferenceOnly, 0.0), vocab_size=VOCAB, seq_len=8, device="cuda")
