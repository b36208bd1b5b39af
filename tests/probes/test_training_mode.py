"""Training mode is entered as training enters it: gradients are recorded, and the weights ask for them."""

from __future__ import annotations

import pytest
import torch
from auditor_models import LENGTH, VOCAB, Attention, Mixer, Tokens
from torch import Tensor

from audits import audit
from audits.results import LeakClass, Verdict
from audits.subject.prepare import prepare
from audits.subject.settings import Settings


class LeaksIf(Mixer):
    """Adds what comes later where a condition on the hidden state and the weights holds."""

    def leaks(self, y: Tensor) -> bool:
        raise NotImplementedError

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        return y + 0.1 * x.flip(1).detach() if self.leaks(y) else y


class Recording(LeaksIf):
    def leaks(self, y: Tensor) -> bool:
        return self.training and torch.is_grad_enabled()


class GraphOfHidden(LeaksIf):
    def leaks(self, y: Tensor) -> bool:
        return y.requires_grad


class TrainableWeights(LeaksIf):
    def leaks(self, y: Tensor) -> bool:
        return self.training and self.attention.qkv.weight.requires_grad


@pytest.mark.parametrize("mixer", [Recording, GraphOfHidden, TrainableWeights])
def test_a_leak_that_occurs_only_while_gradients_are_recorded_is_found(mixer: type[LeaksIf]) -> None:
    torch.manual_seed(0)
    result = audit(Tokens(mixer()), vocab_size=VOCAB, seq_len=LENGTH, probes=["training-mode"])
    assert {finding.leak_class for finding in result.findings} == {LeakClass.TRAINING_MODE}


def test_weights_that_the_user_froze_ask_for_no_gradient() -> None:
    torch.manual_seed(0)
    model = Tokens(TrainableWeights())
    model.mixer.attention.qkv.weight.requires_grad_(False)
    assert audit(model, vocab_size=VOCAB, seq_len=LENGTH, probes=["training-mode"]).verdict is Verdict.PASS


def test_outputs_of_training_mode_come_without_their_graph_and_evaluation_records_none() -> None:
    subject = prepare(Tokens(Attention()), Settings(vocab_size=VOCAB, seq_len=8))
    assert not subject.run(subject.base(), training=True).requires_grad
    assert all(weight.requires_grad for weight in subject.module.parameters())
    subject.run(subject.base())
    assert not any(weight.requires_grad for weight in subject.module.parameters())


class Keeps(Mixer):
    """Keeps its activations, and hides a layer behind an all-zero gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.second = torch.nn.Parameter(torch.zeros(1)), Attention()

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        self.last = y + self.gate * self.second(x)
        return self.last


def test_a_graph_that_the_model_keeps_does_not_stop_the_copy_with_small_weights() -> None:
    torch.manual_seed(0)
    result = audit(Tokens(Keeps()), vocab_size=VOCAB, seq_len=LENGTH, probes=["training-mode"])
    assert result.verdict is Verdict.PASS
    assert "all-zero weights set to small values" in result.probes[0].why
