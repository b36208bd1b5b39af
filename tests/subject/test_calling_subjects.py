"""The subject stays as it came: weights, flags, hooks, attributes and every random generator, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import auditor_models as models
import numpy as np
import pytest
import torch
from auditor_models import LENGTH, VOCAB, WIDTH, Attention, Tokens
from torch import Tensor, nn

from audits import SubjectError, audit
from audits.subject.prepare import prepare
from audits.subject.settings import Settings
from audits.subject.snapshot import Snapshot


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything an audit might change, in comparable form."""
    modules = dict(model.named_modules())
    return {
        "tensors": {
            n: (id(t), t.dtype, t.detach().double().tolist()) for n, t in model.state_dict(keep_vars=True).items()
        },
        "grads": {n: (p.requires_grad, p.grad) for n, p in model.named_parameters()},
        "modes": {n: m.training for n, m in modules.items()},
        "hooks": {n: [len(h) for k, h in vars(m).items() if k.endswith("_hooks")] for n, m in modules.items()},
        "attributes": {
            n: {k: repr(v) for k, v in vars(m).items() if not k.startswith("_")} for n, m in modules.items()
        },
        "generators": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),  # noqa: NPY002 - what models use
        "default": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


class Stateful(models.Mixer):
    """Changes whatever it can reach."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.calls, self.log, self.table, self.holder = 0, [], {}, models.Holder()
        self.generator = torch.Generator().manual_seed(3)

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        self.calls += 1
        self.log.append(x)
        self.table["last"] = x
        self.holder.value = x
        self.new = x
        self.seen = self.seen + 1
        with torch.no_grad():
            self.attention.qkv.weight.data.mul_(1.001)
        return y + torch.rand((), generator=self.generator).to(y)


class StatefulLocked(models.Locked, Stateful):
    """The same, where nothing can be copied."""

    def __deepcopy__(self, memo: object) -> StatefulLocked:
        raise TypeError("not to be copied")


class Interrupts(StatefulLocked):
    """Raises after some calls."""

    problem: type[BaseException] = KeyboardInterrupt

    def after(self, y: Tensor, x: Tensor) -> Tensor:
        y = super().after(y, x)
        if len(x) > 3:
            raise self.problem("enough")
        return y


def mixed_modes(mixer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    model = Tokens(mixer).train()
    model.head.eval()
    model.head.weight.requires_grad_(False)
    model.embedding.weight.grad = torch.ones_like(model.embedding.weight)
    model.register_forward_hook(lambda module, given, output: None)
    return model


@pytest.mark.parametrize("mixer", [Stateful, StatefulLocked, models.Locked, models.KeepsEverything])
def test_an_audit_leaves_everything_as_it_was(mixer):
    model = mixed_modes(mixer())
    before = state_of(model)
    holder = getattr(getattr(model.mixer, "holder", None), "value", None)
    audit(model, vocab_size=VOCAB, seq_len=LENGTH)
    after = state_of(model)
    assert {name for name in before if before[name] != after[name]} == set()
    assert getattr(getattr(model.mixer, "holder", None), "value", None) == holder


@pytest.mark.parametrize("problem", [KeyboardInterrupt, ValueError])
def test_an_audit_that_is_broken_off_leaves_everything_as_it_was(problem, monkeypatch):
    monkeypatch.setattr(Interrupts, "problem", problem)
    model = mixed_modes(Interrupts())
    before = state_of(model)
    try:
        audit(model, vocab_size=VOCAB, seq_len=LENGTH)
    except KeyboardInterrupt:
        assert problem is KeyboardInterrupt
    after = state_of(model)
    assert {name for name in before if before[name] != after[name]} == set()


def test_a_function_that_holds_a_model_gives_it_back_as_it_was():
    model = mixed_modes(Stateful())
    before = state_of(model)
    audit(lambda tokens: model(tokens), vocab_size=VOCAB, seq_len=LENGTH, probes=["perturbation"])
    after = state_of(model)
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.log.append(1),
        lambda m: m.table.update(a=1),
        lambda m: setattr(m.holder, "value", 2.0),
        lambda m: setattr(m, "fresh", 1),
        lambda m: delattr(m, "calls"),
        lambda m: m.seen.data.add_(1),
        lambda m: setattr(m, "seen", torch.ones(3)),
        lambda m: setattr(m.attention.qkv.weight, "data", torch.ones(2, 2)),
        lambda m: setattr(m, "attention", nn.Identity()),
        lambda m: m.train(not m.training),
        lambda m: torch.rand(1, generator=m.generator),
    ],
)
def test_a_snapshot_puts_back_what_was_changed(change: Callable[[Any], object]):
    model = Stateful()
    before = (state_of(model), list(model.log), dict(model.table), model.holder.value, model.generator.get_state())
    snapshot = Snapshot(model)
    change(model)
    snapshot.restore()
    after = (state_of(model), list(model.log), dict(model.table), model.holder.value, model.generator.get_state())
    assert before[:4] == after[:4]
    assert torch.equal(before[4], after[4])


BAD = {
    "whole numbers": {"seq_len": 8.0},
    "leaves no earlier position": {"seq_len": 1},
    "fewer than 2 tokens": {"vocab_size": 1},
    "batch must be at least 1": {"batch": 0},
    "seed must be": {"seed": -1},
    "input must be": {"input": "images"},
    "dtype must be": {"dtype": "int8"},
    "need --width": {"input": "features"},
    "device 'nowhere' cannot be used": {"device": "nowhere"},
    "no probe is called crystal-ball: there are perturbation": {"probes": ["crystal-ball"]},
    "no probe is called (none)": {"probes": []},
    "index out of range": {"vocab_size": 1000},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_option_is_one_line_that_says_what_is_wrong(message):
    with pytest.raises(SubjectError) as caught:
        audit(Tokens(Attention()), **{"vocab_size": VOCAB, "seq_len": 8, **BAD[message]})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Wrong(nn.Module):
    def __init__(self, spoil: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.embedding, self.spoil = nn.Embedding(VOCAB, WIDTH), spoil

    def forward(self, tokens: Tensor) -> object:
        return self.spoil(self.embedding(tokens))


def refuse(x: Tensor) -> Tensor:
    raise ValueError("\n  this model\nneeds a licence")


WRONG: dict[str, Callable[[Tensor], object]] = {
    "returned a NoneType": lambda x: None,
    "returned a dict with hidden": lambda x: {"hidden": x},
    "returned shape []": lambda x: x.mean(),
    "returned shape [1, 7, 16]": lambda x: x[:, :-1],
    "returned shape [8, 1, 16]": lambda x: x.transpose(0, 1),
    "returned an empty tensor": lambda x: x[..., :0],
    "raised ValueError on int64 [1, 8] input: this model": refuse,
}


@pytest.mark.parametrize("message", WRONG)
def test_a_model_with_the_wrong_output_is_one_line_that_says_so(message):
    with pytest.raises(SubjectError) as caught:
        audit(Wrong(WRONG[message]), seq_len=8)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "not a module or callable"),
        (Attention, "is the class Attention: give an instance"),
        (lambda tokens: tokens[..., None].double(), "give --vocab-size"),
        (nn.Embedding(VOCAB, 4, device="meta"), "Cannot copy out of meta tensor"),
    ],
)
def test_what_is_no_usable_model_is_one_line_that_says_so(model, message):
    with pytest.raises(SubjectError, match=message):
        audit(model, seq_len=8)


def test_the_batch_shrinks_to_what_the_model_takes():
    assert prepare(Tokens(models.AtMostFiveRows()), Settings(seq_len=8)).settings.batch == 4
    assert prepare(Tokens(models.OneRow()), Settings(seq_len=8)).settings.batch == 1
    assert prepare(Tokens(Attention()), Settings(seq_len=8)).settings.batch == 32


def test_casts_to_float32_on_the_way_are_noticed_and_a_finer_subject_is_at_hand():
    subject = prepare(Tokens(models.CoarseIsland()), Settings(seq_len=8))
    assert (subject.dtype, subject.compute_dtype) == (torch.float64, torch.float32)
    assert subject.float64_reference is not None
    assert subject.float64_reference.compute_dtype == torch.float64
    assert prepare(Tokens(Attention()), Settings(seq_len=8)).float64_reference is None
