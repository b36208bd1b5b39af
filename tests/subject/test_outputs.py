"""Every tensor that a model returns for its positions is judged; what goes with no position is named and left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Attention
from torch import Tensor, nn

from audits import audit
from audits.explanation import what
from audits.results import AuditResult, LeakClass, Verdict
from audits.subject.outputs import MAIN, as_sequence, further_outputs
from audits.subject.prepare import prepare
from audits.subject.settings import Settings


class Pair(NamedTuple):
    first: Tensor
    hidden: Tensor


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Returns(nn.Module):
    """Logits, and the hidden state of a second layer by `how`."""

    def __init__(self, how: Any, causal: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.head, self.how = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB), how
        self.first, self.second = Attention(), Attention(causal)

    def forward(self, tokens: Tensor) -> Any:
        x = self.first(self.embedding(tokens))
        return self.how(self.head(x), self.second(x))


NESTED = {
    "1": lambda y, h: (y, h),
    "1.1": lambda y, h: (y, (None, h)),
    "1.0.hidden": lambda y, h: (y, [{"hidden": h}]),
    "hidden_states.1": lambda y, h: {"logits": y, "hidden_states": (h.cumsum(1) * 0, h)},
    "hidden": Output,
    "1.hidden": lambda y, h: (y, Pair(y, h)),
}


def result_of(model: nn.Module, **options: Any) -> AuditResult:
    return audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, "probes": ["perturbation"], **options})


@pytest.mark.parametrize("name", NESTED)
def test_a_leak_of_a_further_output_is_found_and_its_output_named(name: str) -> None:
    assert result_of(Returns(NESTED[name])).verdict is Verdict.PASS
    result = result_of(Returns(NESTED[name], causal=False))
    (finding,) = result.findings
    assert (finding.leak_class, finding.changed) == (LeakClass.DENSE, f'output "{name}"')
    assert f'output "{name}": changing position' in result.probes[0].why
    assert what(finding).startswith(f'output "{name}" at position')
    assert finding.module == "second"


@pytest.mark.parametrize("probe", ["gradient", "prefix-length", "provenance", "training-mode", "dtype"])
def test_other_probes_name_the_output_too(probe: str) -> None:
    result = result_of(Returns(NESTED["1"], causal=False), probes=[probe])
    assert {finding.changed for finding in result.findings} == {'output "1"'}


def test_a_leak_of_the_first_output_is_reported_as_before() -> None:
    result = result_of(Returns(lambda y, h: (y + h.mean(1, keepdim=True).mean(-1, keepdim=True), h), causal=False))
    assert {finding.changed for finding in result.findings} == {"the output"}


NO_POSITIONS = {
    "a scalar": lambda y, h: (y, h.mean()),
    "a state of the row": lambda y, h: (y, h[:, -1]),
    "a state as wide as the row is long": lambda y, h: (y, h.mean(1).repeat(1, LENGTH // WIDTH)),
    "a map of attention": lambda y, h: (y, h @ h.mT),
    "heads first": lambda y, h: (y, torch.stack([h, h], 1)),
    "integers": lambda y, h: (y, h.argmax(-1)),
    "labels": lambda y, h: {"logits": y, "labels": h.flip(1)},
    "the encoder's": lambda y, h: {"logits": y, "encoder_last_hidden_state": h.flip(1)},
    "not a number": lambda y, h: (y, h * float("nan")),
}


@pytest.mark.parametrize("name", NO_POSITIONS)
def test_what_goes_with_no_position_is_not_judged_and_named(name: str) -> None:
    result = result_of(Returns(NO_POSITIONS[name], causal=False))
    assert result.verdict is Verdict.PASS
    assert result.settings["outputs"] == ["the first"]
    assert len(result.settings["not_judged"]) == (name != "integers")


def test_a_model_of_one_length_has_its_first_output_judged() -> None:
    class OneLength(Returns):
        def forward(self, tokens: Tensor) -> Any:
            if tokens.shape[1] != LENGTH:
                raise ValueError("one length")
            return super().forward(tokens)

    assert prepare(OneLength(NESTED["1"]), Settings(vocab_size=VOCAB, seq_len=LENGTH)).outputs == (MAIN,)


def test_outputs_are_joined_in_order_and_those_that_a_call_lacks_are_left_out() -> None:
    inputs, y, h = torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, 2), torch.zeros(1, 3)
    assert list(further_outputs((y, (h, y)), inputs)) == ["1.0"]
    assert as_sequence((y, (h, y)), inputs, (MAIN, "1.0", "2")).tolist() == [[[1, 1, 0]] * 3]
    assert as_sequence(y, inputs, (MAIN, "1.0")) is y


def test_a_stream_that_returns_the_first_output_alone_is_compared_with_it() -> None:
    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)

        def forward(self, tokens: Tensor) -> Any:
            x = self.embedding(tokens).cumsum(1)
            return self.head(x), x

        def stream(self, tokens: Tensor, state: Tensor | None = None) -> Any:
            x = self.embedding(tokens).cumsum(1) + (0 if state is None else state)
            return self.head(x), x[:, -1:]

    assert result_of(Streams(), probes=["decode"]).verdict is Verdict.PASS
