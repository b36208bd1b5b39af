"""The routing experiment: its runs, what a run records, and that it learns where learning is possible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.evidence.code_hash import modules_behind
from audits.evidence.experiment import Options
from audits.experiments.routing import diagnostic as routing
from audits.experiments.routing._backbone import load_backbone
from audits.experiments.routing._bandit import learn
from audits.experiments.routing._plan import RATES, SIZES, Size, cells, runs, seeds, spec_of
from audits.experiments.routing._rows import ROWS
from audits.experiments.routing._task import FAR, MQAR, NEAR, PLAIN, TASKS, content_ceiling
from audits.experiments.routing._train import Recipe
from audits.experiments.routing.causality import runs as causality_runs
from hubrouter.config import ConfigError
from hubrouter.diagnostic.config import DiagnosticConfig, representation, router
from hubrouter.diagnostic.tasks.distant_evidence import DistantEvidence
from hubrouter.diagnostic.tasks.mqar import Mqar

TINY = Size(16, 2, 30, 8, 10, 32, 1)
TASK = DistantEvidence(32, 10, 40, 3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "quick", TINY)
    monkeypatch.setitem(TASKS, "quick", {FAR: TASK, PLAIN: replace(TASK, same_key=False), MQAR: Mqar(64, 4, 40)})


def executed(name: str, task: str = FAR) -> dict[str, Any]:
    spec = spec_of("quick", task, ROWS[name], 0, 3e-3)
    result = routing.execute(spec, Options("quick"), lambda *_: None)
    return json.loads(json.dumps(result, allow_nan=False))


def test_every_row_names_parts_that_exist() -> None:
    for row in ROWS.values():
        assert representation(row.representation).cost
        if row.recipe != "bandit":
            assert router(row.router).cost
    assert len(causality_runs(Options())) >= 18


def test_runs_are_all_rows_with_a_sweep_of_the_first_seed() -> None:
    full = runs(Options("full"))
    assert len({(json.dumps(spec.config, sort_keys=True), spec.seed) for spec in full}) == len(full)
    far = [spec for spec in full if spec.config["task"] == FAR and spec.config["name"] == "attention"]
    assert sorted((spec.seed, spec.config["lr"]) for spec in far) == [
        *((0, rate) for rate in RATES), (1, RATES[1]), (2, RATES[1])]  # fmt: skip
    assert {spec.config["task"] for spec in full} == {FAR, PLAIN, NEAR, MQAR}
    assert all(name in ROWS for names in cells("full").values() for name in names)
    assert {seeds("full", name) for name in ROWS} == {3, 5, 12}
    assert len(runs(Options("quick"))) == sum(map(len, cells("quick").values())) * SIZES["quick"].seeds


@pytest.mark.parametrize("name", ["raw", "attention", "segments", "memory banks", "LinUCB", "budget 25 %"])
def test_a_run_records_its_curve_and_its_chance(name: str, tiny: None) -> None:
    result = executed(name)
    assert result["curve"]["step"] == [0, 10, 20, 30]
    assert result["precision"] == result["curve"]["precision"][-1]
    assert 0 < result["chance"] < 1
    assert not result["diverged"]


def test_the_same_seed_gives_the_same_result(tiny: None) -> None:
    assert executed("flow") == executed("flow")


def test_what_other_projections_find_in_the_same_representation_is_recorded(tiny: None) -> None:
    result = executed("raw")
    assert len(result["spectrum"]) == 16
    assert result["spectrum"] == sorted(result["spectrum"], reverse=True)
    assert 0 <= result["random_projection"] <= 1
    assert result["cosine"] == pytest.approx(1.0)  # four picks hold the answer and its three like: content is all
    assert "spectrum" not in executed("flow, rank-1")


def test_frozen_projections_stay_as_they_were_pretrained(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, torch.Tensor] = {}
    pretrain, train = routing.pretrain, routing.train

    def pretrained(model: Any, *rest: Any) -> float:
        nats = pretrain(model, *rest)
        seen["before"] = model.router.form().detach().clone()
        return nats

    def trained(model: Any, *rest: Any) -> Any:
        curve = train(model, *rest)
        seen["after"] = model.router.form().detach().clone()
        return curve

    monkeypatch.setattr(routing, "pretrain", pretrained)
    monkeypatch.setattr(routing, "train", trained)
    executed("InfoNCE, frozen")
    assert torch.equal(seen["before"], seen["after"])
    executed("InfoNCE, tuned")
    assert not torch.equal(seen["before"], seen["after"])


def test_a_loss_that_is_not_finite_ends_the_run_and_is_said(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr("hubrouter.diagnostic.model.RoutedModel.loss", lambda *_: nothing)
    result = executed("raw")
    assert result["diverged"]
    assert result["curve"]["step"] == [0]


def test_raw_embeddings_learn_what_content_can_tell() -> None:
    recipe = Recipe(200, 32, 1e-2, 200, 128)
    curve = learn("linucb", 32, replace(TASK, same_key=False), recipe, 0.0, 0, lambda *_: None)
    assert curve[-1]["precision"] > 3 * curve[-1]["chance"]


def test_the_ceiling_of_content_is_the_share_of_like_keys_that_the_picks_hold() -> None:
    assert content_ceiling(DistantEvidence(128, 50, 256, 8)) == pytest.approx(4 / 9)
    assert content_ceiling(TASK) == 1
    assert content_ceiling(replace(TASK, same_key=False)) is None
    assert content_ceiling(Mqar()) is None


def test_a_backbone_is_loaded_from_a_folder_stays_frozen_and_is_causal(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    transformers.GPTNeoXModel(transformers.GPTNeoXConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path)
    config = DiagnosticConfig(40, 32, 16, 2)
    backbone = load_backbone(str(tmp_path), config, 0)
    tokens = torch.randint(1, 40, (2, 32))
    states = backbone(tokens)
    assert states.shape == (2, 32, 16)
    changed = backbone(torch.cat([tokens[:, :20], tokens[:, 20:].flip(1)], dim=1))
    assert torch.allclose(states[:, :20], changed[:, :20], atol=1e-6)
    states.sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is not None] == ["narrow.weight"]
    with pytest.raises(ConfigError, match="knows 50 tokens, and the task has 60"):
        load_backbone(str(tmp_path), replace(config, vocab_size=60), 0)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_backbone(str(tmp_path / "nowhere"), config, 0)


def test_what_must_be_loaded_runs_at_the_papers_size_alone() -> None:
    loaded = {name for name, row in ROWS.items() if row.backbone.startswith("hf:")}
    assert loaded
    assert loaded <= set(cells("paper")[FAR])
    assert not loaded & set(cells("full")[FAR])


def test_every_part_is_code_behind_the_runs() -> None:
    behind = modules_behind([routing.execute], routing.PLAN)
    for row in ROWS.values():
        assert f"hubrouter.diagnostic.representations.{row.representation}" in behind
        kind = "bandits" if row.recipe == "bandit" else "routers"
        assert f"hubrouter.diagnostic.{kind}.{row.router}" in behind
