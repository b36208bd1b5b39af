"""Kinds of subject: operators made of others, compiled forms, odd copies, refused derivatives, random draws."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from auditor_models import VOCAB, WIDTH
from torch import Tensor, nn

from audits import LeakClass, audit
from audits.results import AuditResult, ProbeResult, Verdict

LENGTH = 24


class Attends(nn.Module):
    """Causal attention between an embedding and a head; `leak` of the reversed sequence is added."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding, self.head = nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, VOCAB)
        self.leak = leak

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        weights = (x @ x.transpose(1, 2)).masked_fill(hidden, float("-inf")).softmax(-1)
        return self.head(weights @ x + self.leak * x.flip(1))


class RefusesCopies(Attends):
    def __deepcopy__(self, memo: object) -> RefusesCopies:
        raise TypeError("no copies")


class IsItsOwnCopy(Attends):
    def __deepcopy__(self, memo: object) -> IsItsOwnCopy:
        return self


class SharesWithItsCopy(Attends):
    def __deepcopy__(self, memo: object) -> SharesWithItsCopy:
        copied = type(self)(self.leak)
        copied.embedding = self.embedding
        return copied


class LockedZeroGate(Attends):
    """Holds what cannot be copied, and hides its leak behind a gate of zero."""

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.lock, self.gate, self.gated = threading.Lock(), nn.Parameter(torch.zeros(1)), leak

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + self.gate * self.gated * self.head(self.embedding(tokens).flip(1))


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise AssertionError("only in training")


class RefusesDerivatives(Attends):
    def forward(self, tokens: Tensor) -> Tensor:
        return NoBackward.apply(super().forward(tokens))


class Flexible(Attends):
    def forward(self, tokens: Tensor) -> Tensor:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        x = self.embedding(tokens)[:, None]
        n = x.shape[2]
        reach = 3 if self.leak else 0
        mask = create_block_mask(lambda b, h, i, j: (j <= i + reach) & (i - j < 8), None, None, n, n, device="cpu")
        return self.head(flex_attention(x, x, x, block_mask=mask)[:, 0])


class Branching(Attends):
    """A choice between two functions by a higher-order operator."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(
            torch.cond(self.head.bias[0] > 0, lambda x: x.cumsum(1), lambda x: x, (x,)) + self.leak * x.flip(1)
        )


def exported(leak: float) -> Any:
    rows, length = torch.export.Dim("rows", max=64), torch.export.Dim("length", min=2, max=1024)
    example = (torch.zeros(2, LENGTH, dtype=torch.long),)
    return torch.export.export(Attends(leak).eval(), example, dynamic_shapes=({0: rows, 1: length},))


KINDS: dict[str, Callable[[float], Any]] = {
    "scripted": lambda leak: torch.jit.script(Attends(leak).eval()),
    "traced": lambda leak: torch.jit.trace(Attends(leak).eval(), torch.zeros(1, LENGTH, dtype=torch.long)),
    "frozen": lambda leak: torch.jit.freeze(torch.jit.script(Attends(leak).eval())),
    "exported program": exported,
    "exported module": lambda leak: exported(leak).module(),
    "compiled": lambda leak: torch.compile(Attends(leak).eval(), backend="eager"),
    "flexible attention": lambda leak: Flexible(leak).eval(),
    "higher-order operator": lambda leak: Branching(leak).eval(),
    "refuses copies": lambda leak: RefusesCopies(leak).eval(),
    "is its own copy": lambda leak: IsItsOwnCopy(leak).eval(),
    "shares with its copy": lambda leak: SharesWithItsCopy(leak).eval(),
    "locked behind a zero gate": lambda leak: LockedZeroGate(leak).eval(),
    "refuses derivatives": lambda leak: RefusesDerivatives(leak).eval(),
}


def audited(model: Any, **options: Any) -> AuditResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return audit(model, **{"vocab_size": VOCAB, "seq_len": LENGTH, **options})


def probe(result: AuditResult, name: str) -> ProbeResult:
    return next(probe for probe in result.probes if probe.name == name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leak", [0.0, 0.1])
def test_a_kind_of_subject_passes_or_leaks_by_what_it_computes_and_is_left_as_it_was(kind: str, leak: float) -> None:
    model = KINDS[kind](leak)
    state = model.state_dict if kind == "exported program" else model.state_dict()
    before = {name: (value.data_ptr(), value.clone()) for name, value in state.items()}
    result = audited(model)
    assert result.verdict is (Verdict.LEAK if leak else Verdict.PASS), result.probes
    assert all(before[name][0] == value.data_ptr() for name, value in state.items())
    assert all(torch.equal(before[name][1], value) for name, value in state.items())
    if kind in ("exported program", "flexible attention", "refuses derivatives"):
        assert LeakClass.STATISTIC not in {finding.leak_class for finding in result.findings}


@pytest.mark.filterwarnings("ignore")
def test_operators_made_of_others_are_traced_inside() -> None:
    for kind in (Flexible, Branching):
        assert probe(audited(kind().eval(), probes=["provenance"]), "provenance").verdict is Verdict.PASS
        (finding,) = audited(kind(0.1).eval(), probes=["provenance"]).findings
        assert finding.file is not None
        assert finding.file.endswith("test_subject_kinds.py")


def test_an_all_zero_gate_that_cannot_be_tried_open_is_no_pass() -> None:
    class Uncopyable(LockedZeroGate):
        def __deepcopy__(self, memo: object) -> Uncopyable:
            raise TypeError("no copies")

    assert audited(Uncopyable(0.1).eval()).verdict is Verdict.UNDETERMINED


class FastPathOnly(Attends):
    """torch's encoder layer told to be causal without a mask: its fast path hides nothing, its slow path raises."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layer(self.embedding(tokens), is_causal=True))


def test_a_leak_of_a_fast_path_is_kept_though_nothing_else_can_run_the_model() -> None:
    result = audited(FastPathOnly().eval())
    assert result.verdict is Verdict.LEAK
    assert {finding.leak_class for finding in result.findings} == {LeakClass.UNKNOWN}
    assert not probe(result, "gradient").applicable


class DrawsAttention(Attends):
    """Attention by a Gumbel softmax, which draws in evaluation mode."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        scores = (x @ x.mT).masked_fill(hidden, float("-inf"))
        return self.head(nn.functional.gumbel_softmax(scores, hard=True) @ x + self.leak * x.flip(1))


def test_a_model_that_draws_in_evaluation_mode_is_soon_undetermined() -> None:
    result = audited(DrawsAttention().eval(), seq_len=48)
    assert result.verdict is Verdict.UNDETERMINED
    assert "draws random numbers" in probe(result, "prefix-length").why
    assert sum(probe.forwards for probe in result.probes) < 400
    assert audited(DrawsAttention(0.1).eval()).verdict is Verdict.LEAK
