"""State that shows late or after several lengths, and calls that write into what they are given."""

from __future__ import annotations

import auditor_models as models
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Mixer, Tokens
from torch import Tensor, nn

from audits import audit
from audits.auditor.audit import explain
from audits.results import AuditResult, LeakClass, Verdict


def repeated(model: object, **options: object) -> AuditResult:
    return audit(model, seq_len=LENGTH, probes=["repeat-call"], **{"vocab_size": VOCAB, **options})


def written(model: object) -> AuditResult:
    return audit(model, seq_len=LENGTH, probes=["repeat-call"], input="features", width=WIDTH)


class SixthCall(Mixer):
    calls = 0

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        return y + 0.1 * (self.calls > 5)


class SeveralLengths(Mixer):
    """Changes once it has seen three lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: set[int] = set()

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        self.lengths.add(x.shape[1])
        return y + 0.1 * (len(self.lengths) > 2)


class SixthCallOfOneLength(SixthCall):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        if x.shape[1] != LENGTH:
            raise ValueError("one length")
        return super().after(y, x)


@pytest.mark.parametrize("mixer", [SixthCall, SeveralLengths, SixthCallOfOneLength])
def test_state_that_shows_after_many_calls_is_found(mixer: type[Mixer]) -> None:
    result = repeated(Tokens(mixer()))
    assert {finding.leak_class for finding in result.findings} == {LeakClass.STATE}


def test_a_model_of_one_length_passes() -> None:
    assert repeated(Tokens(models.OneLength())).verdict is Verdict.PASS


class InTraining(models.InPlace):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.training else self.attention(x)


class ThroughData(Mixer):
    def after(self, y: Tensor, x: Tensor) -> Tensor:
        x.data[:, 5] = 0
        return y


class Tokenwise(Tokens):
    def forward(self, tokens: Tensor) -> Tensor:
        tokens[:, 0] = 1
        return super().forward(tokens)


@pytest.mark.parametrize("model", [models.InPlace, InTraining, ThroughData])
def test_features_that_a_call_changes_are_a_leak_in_plain_words(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    result = written(model())
    assert [(finding.leak_class, finding.changed) for finding in result.findings] == [
        (LeakClass.STATE, "the caller's input")
    ]
    assert "the caller's input was changed" in result.probes[0].why
    assert "The caller's input at position" in explain(result)


def test_tokens_that_a_call_changes_are_a_leak_too() -> None:
    torch.manual_seed(0)
    assert repeated(Tokenwise(Mixer())).verdict is Verdict.LEAK


def test_a_model_that_writes_into_activations_of_its_own_passes() -> None:
    torch.manual_seed(0)
    assert repeated(Tokens(models.InPlace())).verdict is Verdict.PASS


def test_what_is_written_back_before_the_call_ends_is_no_change() -> None:
    class Restores(Mixer):
        def after(self, y: Tensor, x: Tensor) -> Tensor:
            x.neg_().neg_()
            return y

    assert written(Restores()).verdict is Verdict.PASS
