"""The routing experiment: its runs, what a run records, and that it learns where learning is possible."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.evidence import code_hash
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.routing import diagnostic as routing
from audits.experiments.routing._backbone import load_backbone
from audits.experiments.routing._bandit import learn
from audits.experiments.routing._plan import (
    FIRST_SEED,
    NAME,
    RATES,
    SIZES,
    TUNING_SEED,
    Arm,
    Size,
    arms,
    follow_up,
    judged_specs,
    rate_of,
    runs,
    seeds,
    spec_of,
    tuned,
)
from audits.experiments.routing._rows import ROWS
from audits.experiments.routing._task import FAR, MANY, MQAR, MQAR_VALUE, PLAIN, TASKS, VALUE, content_ceiling
from audits.experiments.routing._train import QUESTIONS, Recipe, questions
from audits.experiments.routing.causality import runs as causality_runs
from audits.experiments.training.seeds import stream
from hubrouter.config import ConfigError
from hubrouter.diagnostic.config import DiagnosticConfig, representation, router
from hubrouter.diagnostic.tasks.distant_evidence import DistantEvidence
from hubrouter.diagnostic.tasks.mqar import Mqar

TINY = Size(16, 2, 30, 8, 10, 32)
TASK = DistantEvidence(32, 10, 40, 3)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "quick", TINY)
    monkeypatch.setitem(TASKS, "quick", {FAR: TASK, PLAIN: replace(TASK, same_key=False), MQAR: Mqar(64, 4, 40)})


def executed(name: str, task: str = FAR) -> dict[str, Any]:
    return carried_out(spec_of("quick", Arm(task, name), FIRST_SEED, 4e-3))


def carried_out(spec: RunSpec) -> dict[str, Any]:
    result = routing.execute(spec, Options("quick"), lambda *_: None)
    return json.loads(json.dumps(result, allow_nan=False))


def test_every_row_names_parts_that_exist() -> None:
    for row in ROWS.values():
        assert representation(row.representation).cost
        if row.recipe != "bandit":
            assert router(row.router).cost
    assert len(causality_runs(Options())) >= 18


def tuning(precisions: dict[float, float]) -> Evidence:
    """Finished tuning runs of every row, all alike."""
    specs = [spec for spec in runs(Options("full")) if spec.seed == TUNING_SEED]
    results = ({"precision": precisions[spec.config["lr"]], "accuracy": 0.0} for spec in specs)
    return Evidence(tuple(Record(NAME, s.config, s.seed, r, {}, 1.0) for s, r in zip(specs, results, strict=True)))


def test_every_tuned_row_has_the_same_budget_and_is_judged_at_the_rate_that_won() -> None:
    first = runs(Options("full"))
    rates = {
        name: [s.config["lr"] for s in first if s.config["name"] == name and s.seed == TUNING_SEED] for name in ROWS
    }
    assert {tuple(found) for name, found in rates.items() if tuned("full", name) and found} == {RATES}
    assert follow_up(Options("full"), Evidence()) == ()
    evidence = tuning(dict(zip(RATES, (0.5, 0.9, 0.7), strict=True)))
    judged = follow_up(Options("full"), evidence)
    assert {spec.config["lr"] for spec in judged} == {RATES[1]}
    assert rate_of("full", "attention", evidence) == RATES[1]
    short = Evidence(tuple(r for r in evidence.records if r.config["name"] != "raw" or r.config["lr"] != RATES[2]))
    assert {s.config["name"] for s in judged} - {s.config["name"] for s in follow_up(Options("full"), short)} == {"raw"}
    everything = [*first, *judged]
    assert len({(json.dumps(spec.config, sort_keys=True), spec.seed) for spec in everything}) == len(everything)
    wanted = {spec.label for arm in arms("full") for spec in judged_specs("full", arm, RATES[1])}
    assert wanted == {spec.label for spec in everything if spec.seed != TUNING_SEED}


def test_what_chooses_a_rate_judges_nothing() -> None:
    seen = tuning(dict.fromkeys(RATES, 0.5)).records
    judged = follow_up(Options("full"), Evidence(seen))
    assert {record.config["asked"] for record in seen} == {"tuning"}
    assert {spec.config["asked"] for spec in judged} == {"judged"}
    assert not {spec.seed for spec in judged} & {record.seed for record in seen}
    recipe = Recipe(1, 1, 1e-3, 1, 64)
    first, second = (questions(TASK, replace(recipe, asked=asked)).tokens for asked in QUESTIONS)
    assert not torch.equal(first, second)


def test_the_quick_tier_is_cheap_and_waits_for_no_tuning() -> None:
    assert len(runs(Options("quick"))) == 3 * 2 * 3
    assert follow_up(Options("quick"), Evidence()) == ()
    assert {len(seeds(name)) for name in ROWS} == {3, 10}
    assert {arm.task for arm in arms("paper")} < {arm.task for arm in arms("full")}


def test_weights_and_data_of_a_seed_are_independent_and_shared_by_the_rows() -> None:
    purposes = ("weights", "data", "router", "representation")
    assert len({stream(seed, purpose) for seed in (100, 101) for purpose in purposes}) == 8
    config = DiagnosticConfig(40, 32, 16, 2)
    one, other = (routing.untrained_model(ROWS[name], config, 100, lambda *_: None)[0] for name in ("raw", "attention"))
    assert torch.equal(one.embedding.weight, other.embedding.weight)  # type: ignore[arg-type]
    assert torch.equal(one.router.form(), other.router.form())  # type: ignore[operator]
    assert not torch.equal(one.embedding.weight[:16], one.router.form())  # type: ignore[index, operator]


def test_the_value_is_sought_where_the_task_says_so() -> None:
    for name in (VALUE, MQAR_VALUE):
        batch = TASKS["full"][name].draw(32, torch.Generator().manual_seed(0))
        row = torch.arange(32)
        assert torch.equal(batch.tokens[row, batch.answer], batch.label)
        assert batch.candidates[row, batch.answer].all()


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
    assert executed("raw, no positions")["cosine"] == pytest.approx(
        1.0
    )  # four picks hold the answer and its three like: content is all
    assert "spectrum" not in executed("flow, rank-1")
    assert "spectrum" not in carried_out(spec_of("quick", Arm(FAR, "raw"), TUNING_SEED, 4e-3, asked="tuning"))


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
    assert content_ceiling(replace(TASK, value=True)) is None
    assert content_ceiling(TASKS["full"][MANY]) == pytest.approx(4 / 33)
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
    assert loaded <= {arm.name for arm in arms("paper")}
    assert not loaded & {arm.name for arm in arms("full")}


def test_every_part_is_code_behind_the_runs() -> None:
    reached = code_hash._reached(code_hash.definition(routing.execute), frozenset(routing.PLAN))
    behind = {node.module for node in reached}
    for row in ROWS.values():
        assert f"hubrouter.diagnostic.representations.{row.representation}" in behind
        kind = "bandits" if row.recipe == "bandit" else "routers"
        assert f"hubrouter.diagnostic.{kind}.{row.router}" in behind
