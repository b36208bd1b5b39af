"""The experiments: paired arms start alike, the same seed gives the same evidence, costs are counted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Ledger, Record
from audits.evidence.runner import gather
from audits.experiments.auditor import kill_matrix
from audits.experiments.bench import layer_cost
from audits.experiments.language_models import _language_model as language_model
from audits.experiments.language_models import graduated, hybrids, leak_worth, retrofit
from audits.experiments.registry import all_experiments

SMALL = language_model.Size(1, 16, 4, 2, 8, 300, 3, 2, 32, 1e-3, 1, 64)


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(language_model.SIZES, "full", SMALL)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {n} of {n * n % 977} words, or so" for n in range(3000)))
    return Options("full", corpus=str(text))


def routed(small: Options, routing: str) -> RunSpec:
    return next(spec for spec in leak_worth.EXPERIMENT.runs(small) if spec.config["routing"] == routing)


def test_all_routings_of_a_seed_start_from_the_same_weights(small: Options) -> None:
    clean = language_model.build(routed(small, "causal").config, 300, 1)
    for routing in language_model.ROUTINGS:
        config = {**routed(small, "causal").config, "routing": routing}
        weights = language_model.build(config, 300, 1).state_dict()
        assert weights.keys() == clean.state_dict().keys()
        assert all(torch.equal(weights[name], value) for name, value in clean.state_dict().items())
    other = language_model.build(routed(small, "causal").config, 300, 2)
    assert not torch.equal(other.embedding.weight, clean.embedding.weight)


def test_the_corpus_is_part_of_a_runs_address(small: Options, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text((tmp_path / "text.txt").read_text() + "one more line\n" * 50)
    here, there = (leak_worth.EXPERIMENT.runs(o) for o in (small, replace(small, corpus=str(other))))
    addresses = [{Record(s.experiment, s.config, s.seed, {}, {}, 0.0).run for s in specs} for specs in (here, there)]
    assert len(addresses[0]) == 3
    assert not addresses[0] & addresses[1]


def test_studies_share_the_runs_they_have_in_common() -> None:
    (hub_gpt,) = {arm for arm in leak_worth.arms(Options("full")) if arm.routing == "causal"}
    assert all(hub_gpt in study.arms(Options("full")) for study in (hybrids, graduated))


@pytest.mark.parametrize("routing", ["council", "bidirectional"])
def test_the_same_seed_gives_the_same_evidence_and_a_leaky_arm_is_evaluated_under_the_clean_mask(
    small: Options, routing: str
) -> None:
    spec = replace(routed(small, "council"), config={**routed(small, "council").config, "routing": routing})
    first, second = (language_model.execute(spec, small, quiet) for _ in range(2))
    assert first == second
    assert first["audit"]["verdict"] == "LEAK"
    assert first["clean_mask_nats"] is not None


def test_the_clean_arm_passes_its_audit_and_its_future_is_exactly_zero(small: Options) -> None:
    result = language_model.execute(routed(small, "causal"), small, quiet)
    assert result["audit"]["verdict"] == "PASS"
    assert result["clean_mask_nats"] is None
    influence = torch.tensor(result["influence"])
    assert not influence.triu(1).any()
    assert influence.tril().any()


def test_a_retrofit_is_tuned_as_long_as_its_control(small: Options) -> None:
    (spec,) = retrofit.runs(small)
    result = retrofit.execute(spec, small, quiet)
    assert [(t["arm"], t["rate"]) for t in result["tuned"]] == [
        (arm, rate) for rate in retrofit.RATES for arm in ("control", "retrofit")
    ]
    assert len({tuple(step for step, _ in t["curve"]) for t in result["tuned"]}) == 1
    assert result["swapped_nats"] != result["pretrained"]["valid_nats"]


def test_one_leak_is_audited_on_both_sides() -> None:
    result = kill_matrix.execute(RunSpec("kill-matrix", {"twin": "needle"}), Options(), quiet)
    assert result["leaky"]["perturbation"] == "LEAK"
    assert set(result["clean"].values()) == {"PASS"}
    assert result["named"] == result["leak_class"] == "dense"


def test_the_hub_layers_flops_are_linear_and_attentions_are_not() -> None:
    hub, attention = ([layer_cost.flops(name, n) / n for n in (512, 1024, 4096)] for name in ("hub", "attention"))
    assert hub[0] == hub[1] == hub[2]
    assert attention[2] > 2 * attention[0]


def test_every_experiment_lists_its_runs_under_its_own_name(small: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(language_model.SIZES, "full", replace(SMALL, layers=4))  # so that a quarter is a layer
    for experiment in all_experiments():
        specs = experiment.runs(replace(small, tier="quick")) or experiment.runs(small)
        assert specs
        assert {spec.experiment for spec in specs} == {experiment.recorded_as}


def test_gathering_twice_repeats_nothing(tmp_path: Path) -> None:
    wanted = replace(kill_matrix.EXPERIMENT, runs=lambda _options: (RunSpec("kill-matrix", {"twin": "needle"}),))
    ledger = Ledger(tmp_path / "evidence")
    first = gather([wanted], Options(), ledger).evidence
    before = (tmp_path / "evidence" / "kill-matrix.jsonl").read_bytes()
    assert gather([wanted], Options(), ledger).evidence == first
    assert (tmp_path / "evidence" / "kill-matrix.jsonl").read_bytes() == before
