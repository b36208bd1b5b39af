"""Audits during training: when they are made, what a leak does, and that training goes on as without them."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from audits import CausalityError, Verdict
from audits.callbacks._audits import PeriodicAudit

ASKED = {"seq_len": 6, "probes": ["perturbation"]}
LIGHTNING = "audits.callbacks.lightning"


class Causal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.dropout = nn.Dropout(0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.embedding(tokens)).cumsum(1))
        return logits


class Leaky(Causal):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) + tokens.float().mean(1)[:, None, None]


def steps_audited(callback: PeriodicAudit, steps: list[int], model: nn.Module) -> list[int]:
    callback.audit_at(0, model)
    for step in steps:
        callback.audit_if_due(step, model)
    return list(callback.results)


def test_a_model_is_audited_before_training_and_every_so_many_steps_once_each() -> None:
    assert steps_audited(PeriodicAudit(every=2, **ASKED), [0, 1, 2, 2, 3, 4], Causal()) == [0, 2, 4]
    assert steps_audited(PeriodicAudit(**ASKED), [0, 1, 2], Causal()) == [0]


def test_an_interval_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="every=0"):
        PeriodicAudit(every=0)


def test_a_leak_stops_training_with_the_step_and_the_finding() -> None:
    callback = PeriodicAudit(**ASKED)
    with pytest.raises(CausalityError, match=r"step 3: (?s:.*)selection leak at") as stopped:
        callback.audit_at(3, Leaky())
    assert stopped.value.result is callback.results[3]


def test_a_leak_is_only_logged_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    callback = PeriodicAudit(warn_only=True, **ASKED)
    with caplog.at_level(logging.INFO, "audits.callbacks"):
        callback.audit_at(0, Leaky())
        callback.audit_at(1, Causal())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert [result.verdict for result in callback.results.values()] == [Verdict.LEAK, Verdict.PASS]


def test_an_audit_leaves_mode_gradients_and_generators_as_they_are() -> None:
    model = Causal().train()
    model(torch.ones(1, 3, dtype=torch.long)).sum().backward()
    before = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    state = torch.get_rng_state()
    PeriodicAudit(**ASKED).audit_at(0, model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    after = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert len(before) == 3
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_importing_the_package_imports_no_trainer() -> None:
    loaded = "[name for name in ('transformers', 'lightning', 'pytorch_lightning') if name in sys.modules]"
    code = f"import sys, audits.callbacks, audits.callbacks._audits; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_callback_of_transformers_answers_its_events() -> None:
    transformers = pytest.importorskip("transformers")
    from audits.callbacks.transformers import CausalityCallback

    callback, model, state = CausalityCallback(every=2, **ASKED), Causal(), transformers.TrainerState()
    handler = transformers.trainer_callback.CallbackHandler([callback], model, None, None, None)
    control, arguments = transformers.TrainerControl(), SimpleNamespace()
    handler.on_train_begin(arguments, state, control)
    for state.global_step in (1, 2, 3):
        handler.on_step_end(arguments, state, control)
    assert list(callback.results) == [0, 2]


def trained(folder: Path, callbacks: list[Any]) -> nn.Module:
    """A tiny GPT-2 after two steps of the real Trainer."""
    import transformers

    sizes = {"vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 32}
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=1, eos_token_id=2, **sizes))
    row = torch.arange(8)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    data = [{"input_ids": row, "labels": row}] * 8
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=callbacks).train()
    return model


@pytest.mark.filterwarnings("default")  # of the libraries
def test_training_by_transformers_gives_the_same_weights_with_and_without_audits(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    from audits.callbacks.transformers import CausalityCallback

    callback = CausalityCallback(every=1, **ASKED)
    audited, plain = trained(tmp_path, [callback]), trained(tmp_path, [])
    assert [result.verdict for result in callback.results.values()] == [Verdict.PASS] * 3
    pairs = zip(audited.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture
def fake_lightning(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """A package called pytorch_lightning, and no other of that kind, with nothing but the class of callbacks."""
    fake: Any = ModuleType("pytorch_lightning")
    fake.Callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", fake)
    monkeypatch.delitem(sys.modules, LIGHTNING, raising=False)
    yield fake.Callback
    sys.modules.pop(LIGHTNING, None)


def test_the_callback_of_lightning_audits_the_part_that_is_named(fake_lightning: type) -> None:
    callback = importlib.import_module(LIGHTNING).CausalityCallback(every=2, model=lambda module: module.net, **ASKED)
    module, trainer = SimpleNamespace(net=Causal()), SimpleNamespace(global_step=0)
    assert isinstance(callback, fake_lightning)
    callback.on_train_start(trainer, module)
    for trainer.global_step in (0, 1, 2):
        callback.on_train_batch_end(trainer, module, None, None, 0)
    assert list(callback.results) == [0, 2]


def test_without_lightning_the_import_names_what_is_missing(
    fake_lightning: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(ModuleNotFoundError, match="needs lightning or pytorch-lightning"):
        importlib.import_module(LIGHTNING)


@pytest.mark.filterwarnings("default")  # of the libraries
@pytest.mark.parametrize("leaky", [False, True])
def test_training_by_lightning_is_audited_and_ends_by_a_leak(tmp_path: Path, leaky: bool) -> None:
    name = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
    lightning: Any = pytest.importorskip(name)
    callback = importlib.import_module(LIGHTNING).CausalityCallback(every=2, **ASKED)

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = Leaky() if leaky else Causal()

        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = self.net(tokens)
            return logits

        def training_step(self, batch: Tensor, _: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch)[:, :-1].transpose(1, 2), batch[:, 1:])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    trainer = lightning.Trainer(
        max_steps=4,
        accumulate_grad_batches=2,
        accelerator="cpu",
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = torch.utils.data.DataLoader(torch.randint(7, (32, 6)), batch_size=2)
    if leaky:
        with pytest.raises(CausalityError, match="step 0"):
            trainer.fit(Module(), data)
        assert list(callback.results) == [0]
    else:
        trainer.fit(Module(), data)
        assert list(callback.results) == [0, 2, 4]
