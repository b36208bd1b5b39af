"""After an audit the model and the settings of the process are as before, whatever the model does meanwhile."""

from __future__ import annotations

import copy
import random
import weakref
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audits import SubjectError, audit
from audits.betting import BetConfig, bet
from audits.subject.settings import Settings
from audits.subject.untouched import check_device, reaches_original, settings_kept, untouched

TINY = {"seq_len": 8, "probes": ["perturbation"]}


class Causal(nn.Module):
    """A running sum of embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(13, 8), nn.Linear(8, 13)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).cumsum(1))


class Recording(Causal):
    """Hooks keep activations in a list and count in a buffer of the original."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.kept = kept = []

        def record(module: nn.Module, given: object, output: Tensor) -> None:
            kept.append(output)
            self.calls += 1

        self.head.register_forward_hook(record)


class Sibling(Causal):
    """A weak reference leads to the original's normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.BatchNorm1d(8)
        self.other = weakref.ref(self.normal)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).cumsum(1)
        self.other().train()(x.detach().float().flatten(0, 1))
        return self.head(x)


class Counting(Causal):
    """State in class attributes."""

    calls = 0
    seen: ClassVar[list[int]] = []

    def forward(self, tokens: Tensor) -> Tensor:
        Counting.calls += 1
        self.seen.append(len(tokens))
        return super().forward(tokens)


class ItsOwnCopy(Causal):
    def __deepcopy__(self, memo: object) -> ItsOwnCopy:
        return self


class SharesModules(Causal):
    def __deepcopy__(self, memo: object) -> SharesModules:
        return copy.copy(self)


class Closure(Causal):
    """A function of the instance closes over the original."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(()))
        self.count = lambda: self.total.add_(1)

    def forward(self, tokens: Tensor) -> Tensor:
        self.count()
        return super().forward(tokens)


class SettingEverything(Causal):
    def forward(self, tokens: Tensor) -> Tensor:
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        random.random(), torch.rand(()), np.random.rand()  # noqa: NPY002 - the global generator is meant
        return super().forward(tokens)


def state(model: nn.Module) -> dict[str, object]:
    """All that a user could see of it."""
    tensors = {name: value.detach().clone() for name, value in (*model.named_parameters(), *model.named_buffers())}
    found: dict[str, object] = {f"value {name}": value.tolist() for name, value in tensors.items()}
    found |= {f"dtype {name}": value.dtype for name, value in tensors.items()}
    found |= {f"gradient {name}": (p.requires_grad, p.grad) for name, p in model.named_parameters()}
    found |= {f"training {name}": module.training for name, module in model.named_modules()}
    found |= {f"hooks {name}": list(module._forward_hooks) for name, module in model.named_modules()}
    found |= {f"names {name}": list(vars(module)) for name, module in model.named_modules()}
    return found | {"kept": len(getattr(model, "kept", ())), "class": (Counting.calls, len(Counting.seen))}


def settings() -> tuple[object, ...]:
    return (
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
        torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state()),  # noqa: NPY002 - the global generator is meant
    )  # fmt: skip


MODELS = [Causal, Recording, Sibling, Counting, ItsOwnCopy, SharesModules, Closure, SettingEverything]


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_and_the_process_are_as_before_an_audit(kind: type[nn.Module]) -> None:
    model = kind()
    model.embedding.weight.requires_grad_(False)
    model.head.bias.grad = torch.ones(13)
    before, outside = state(model), settings()
    audit(model, **TINY)
    assert settings() == outside
    assert state(model) == before


def test_a_bet_leaves_the_model_as_it_was() -> None:
    model = Recording()
    before, outside = state(model), settings()
    bet(model, Settings(seq_len=8, batch=2), BetConfig(steps=2, alphabets=(2,)))
    assert settings() == outside
    assert state(model) == before


def test_settings_return_also_where_the_model_raises() -> None:
    outside = settings()
    with pytest.raises(ZeroDivisionError), settings_kept():
        raise ZeroDivisionError(torch.set_default_device("meta"), torch.set_grad_enabled(False))
    assert settings() == outside


def test_the_attributes_that_lead_to_the_original_are_named() -> None:
    assert reaches_original(Causal()) == []
    assert reaches_original(Recording()) == ["head._forward_hooks"]
    assert reaches_original(Sibling()) == ["other"]
    assert reaches_original(Closure()) == ["count"]
    assert reaches_original(Counting()) == []


def test_what_is_no_module_is_left_to_the_auditor() -> None:
    with untouched(len):
        pass


def test_a_device_that_computes_nothing_is_refused_with_the_reason() -> None:
    check_device("cpu")
    with pytest.raises(SubjectError, match="device 'meta' computes nothing"):
        check_device("meta")
    with pytest.raises(SubjectError, match="computes nothing"):
        audit(Causal(), device="meta")
    with pytest.raises(SubjectError, match="computes nothing"):
        bet(Causal(), Settings(device="meta"))
