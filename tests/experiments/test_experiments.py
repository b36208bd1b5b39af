"""The experiments: paired arms start alike, the same seed gives the same evidence, costs are counted."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.evidence.runner import gather
from audits.experiments.auditor import kill_matrix
from audits.experiments.bench import layer_cost
from audits.experiments.language_models import _language_model as language_model
from audits.experiments.language_models import families, leak_dose, retrofit, scaling, systems
from audits.experiments.language_models._arm import (
    BIDIRECTIONAL,
    CAUSAL,
    FIRST_SEED,
    JUDGED,
    SIZES,
    Arm,
    Cell,
    Size,
    arm_of,
)
from audits.experiments.language_models._doses import BOTH_WAYS, CAUSAL_TOP, COUNCIL, ROUTINGS, readable
from audits.experiments.language_models._tuning import KIND, judged_runs, rate_of, spec_of, tuning_runs
from audits.experiments.registry import all_experiments
from audits.experiments.training.corpus import load_corpus
from audits.experiments.training.seeds import stream

SMALL = Size(2, 16, 4, 2, 8, 300, 3, 2, 32, (1e-3, 2e-3), 2, 640, 320)


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(SIZES, "full", SMALL)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"line {n} of {n * n % 977} words, or so" for n in range(3000)))
    return Options("full", corpus=str(text))


def judged(options: Options, routing: str = CAUSAL, seed: int = FIRST_SEED) -> RunSpec:
    return spec_of(replace(leak_dose.clean(options.tier), routing=routing), JUDGED, 1e-3, seed, options)


def tuned(spec: RunSpec, nats: float | None, *, diverged: bool = False) -> Record:
    return Record(KIND, spec.config, spec.seed, {"tuning_nats": nats, "diverged": diverged}, {}, 1.0)


def test_all_routings_of_a_seed_start_from_the_same_weights() -> None:
    arm = Arm("HH", width=16, hubs=4, k=2, chunk=8)
    clean = language_model.build(arm, 300, 1)
    for routing in ROUTINGS:
        weights = language_model.build(replace(arm, routing=routing), 300, 1).state_dict()
        assert weights.keys() == clean.state_dict().keys()
        assert all(torch.equal(weights[name], value) for name, value in clean.state_dict().items())
    other = language_model.build(arm, 300, 2)
    assert not torch.equal(other.embedding.weight, clean.embedding.weight)


def test_weights_and_the_order_of_batches_are_drawn_from_independent_streams() -> None:
    drawn = {stream(seed, purpose) for seed in range(100) for purpose in ("weights", "order")}
    assert len(drawn) == 200
    assert stream(3, "weights") == stream(3, "weights")


def test_every_arm_is_tuned_with_the_same_budget_before_it_is_judged(small: Options) -> None:
    cells = (*leak_dose.study_cells("full"), Cell(Arm("AA"), 2))
    tuning = tuning_runs(cells, small)
    counts = Counter(str(arm_of(spec.config)) for spec in tuning)
    assert set(counts.values()) == {len(SMALL.rates)}
    assert counts.keys() == {str(cell.tuned) for cell in cells}
    assert not judged_runs(cells, small, Evidence())
    evidence = Evidence(tuple(tuned(spec, 4.0 + 100 * spec.config["lr"]) for spec in tuning))
    runs = judged_runs(cells, small, evidence)
    assert len(runs) == sum(cell.seeds for cell in cells)
    assert {spec.config["lr"] for spec in runs} == {min(SMALL.rates)}
    assert not {spec.seed for spec in runs} & {spec.seed for spec in tuning}


def test_a_rate_is_known_once_all_are_tried_and_one_that_diverged_never_wins(small: Options) -> None:
    low, high = tuning_runs((Cell(Arm("AA"), 1),), small)
    assert rate_of(Arm("AA"), small, Evidence((tuned(low, 4.0),))) is None
    assert rate_of(Arm("AA"), small, Evidence((tuned(low, 4.0), tuned(high, 3.0)))) == 2e-3
    assert rate_of(Arm("AA"), small, Evidence((tuned(low, 4.0), tuned(high, 3.0, diverged=True)))) == 1e-3
    assert rate_of(Arm("AA"), small, Evidence((tuned(low, None), tuned(high, None)))) in SMALL.rates


def test_what_tunes_a_rate_and_what_judges_share_no_token(small: Options) -> None:
    config = judged(small).config
    corpus = load_corpus(small.corpus, config["vocab_size"])
    corpus = replace(corpus, valid=torch.arange(corpus.valid.numel()))
    valid, tuning = language_model.slices(corpus, config)
    assert (valid.numel(), tuning.numel()) == (641, 320)
    assert valid.max() < tuning.min()
    short = replace(corpus, valid=torch.arange(90))
    valid, tuning = language_model.slices(short, config)
    assert (valid.numel(), tuning.numel()) == (60, 30)


def test_the_corpus_is_part_of_a_runs_address(small: Options, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text((tmp_path / "text.txt").read_text() + "one more line\n" * 50)
    here, there = (judged(options) for options in (small, replace(small, corpus=str(other))))
    assert (
        Record(here.experiment, here.config, 0, {}, {}, 0.0).run
        != Record(there.experiment, there.config, 0, {}, {}, 0.0).run
    )


def test_studies_share_the_runs_they_have_in_common() -> None:
    hub_gpt = SIZES["full"].arm("HHHH")
    for cells in (systems.study_cells("full"), scaling.study_cells("full")):
        assert hub_gpt in {cell.arm for cell in cells}


@pytest.mark.parametrize("tier", ["quick", "full", "paper"])
def test_every_arm_of_every_tier_builds(tier: str) -> None:
    cells = [cell for study in (systems, scaling, leak_dose, families) for cell in study.study_cells(tier)]
    for arm in {replace(cell.arm, width=16, hubs=4, k=2, chunk=8, mlp=24 if cell.arm.mlp else 0) for cell in cells}:
        language_model.build(arm, 64, 0)(torch.zeros(1, 20, dtype=torch.long))


def test_arms_as_large_as_jamba_are() -> None:
    def parameters(arm: Arm) -> int:
        return sum(p.numel() for p in language_model.build(arm, 1024, 0).parameters())

    jamba = parameters(systems.systems(SIZES["full"])["Jamba"])
    for arm in systems.as_large_as_jamba("full").values():
        assert parameters(arm) == pytest.approx(jamba, rel=1e-3)


@pytest.mark.parametrize("routing", [COUNCIL, BIDIRECTIONAL])
def test_the_same_seed_gives_the_same_evidence_and_a_leaky_arm_is_evaluated_under_the_clean_mask(
    small: Options, routing: str
) -> None:
    first, second = (language_model.execute(judged(small, routing), small, quiet) for _ in range(2))
    assert first == second
    assert first["audit"]["verdict"] == "LEAK"
    assert len(first["clean_mask_blocks"]) == len(first["block_nats"]) == 20


def test_the_clean_arm_passes_its_audit_and_can_read_no_next_token(small: Options) -> None:
    result = language_model.execute(judged(small), small, quiet)
    assert result["audit"]["verdict"] == "PASS"
    assert result["clean_mask_blocks"] is None
    assert result["readable"] == 0.0
    assert result["valid_nats"] == pytest.approx(sum(result["block_nats"]) / len(result["block_nats"]))
    assert [step for step, _ in result["stages"]] == [1, 2]  # a quarter and a half of three steps


@pytest.mark.parametrize(
    ("routing", "share"),
    [(COUNCIL, 7 / 8), ("later top 1", 1 / 8), ("later top 8", 7 / 8), (CAUSAL_TOP, 0.0), ("selection", 0.0)],
)
def test_the_share_of_positions_that_can_read_the_next_token(routing: str, share: float) -> None:
    model = language_model.build(Arm("H", routing, width=16, hubs=4, k=2, chunk=8), 300, 1)
    tokens = torch.randint(300, (64, 32), generator=torch.Generator().manual_seed(0))
    found = readable(model, tokens)
    assert found is not None
    assert found == pytest.approx(share, abs=0.03)
    assert torch.equal(model(tokens), model(tokens))


def test_doses_read_what_their_name_says() -> None:
    tokens = torch.randint(300, (1, 32), generator=torch.Generator().manual_seed(0))
    for routing, leaks in ((CAUSAL, False), (CAUSAL_TOP, False), ("later top 1", True), (BOTH_WAYS, True)):
        model = language_model.build(Arm("H", routing, width=16, hubs=4, k=2, chunk=8), 300, 1)
        moved = False
        for position in range(8, 16):
            other = tokens.clone()
            other[0, position] = (tokens[0, position] + 7) % 300
            before = slice(0, position)
            moved |= not torch.allclose(model(tokens)[0, before], model(other)[0, before], atol=1e-5)
        assert moved is leaks, routing


def test_a_price_closes_hubs_and_the_run_says_how_many_are_left(small: Options) -> None:
    spec = spec_of(SMALL.arm("HH", price=50.0), JUDGED, 1e-1, FIRST_SEED, small)
    spec = replace(spec, config={**spec.config, "steps": 30})
    left = language_model.execute(spec, small, quiet)["hubs_left"]
    assert len(left) == 2
    assert min(left) < SMALL.hubs


def test_every_way_of_a_retrofit_is_tuned_as_long_as_its_control(
    small: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = retrofit.runs(small)[0]
    spec = replace(spec, config={**spec.config, "steps": 12, "tuning": 8})
    trained: Counter[str] = Counter()
    inner = retrofit.learn

    def counted(model: Any, corpus: Any, config: Any, seed: int, progress: Any, options: Options) -> dict[str, Any]:
        trained[model.config.pattern] += config["steps"]
        return inner(model, corpus, config, seed, progress, options)

    monkeypatch.setattr(retrofit, "learn", counted)
    result = retrofit.execute(spec, small, quiet)
    assert set(result) == {"pretrained", "just swapped", retrofit.ATTENTION, retrofit.SCRATCH, *retrofit.WAYS}
    # Attention: pretrained, tuned. HubRouter: from scratch, at once, after distilling, and the last layer.
    assert trained == {"AA": 12 + 8, "HH": 20 + 8 + 4 + 4, "HA": 4}
    assert result["just swapped"] != result["pretrained"]


def test_distilling_brings_the_new_layers_nearer_to_attention(small: Options) -> None:
    corpus = load_corpus(small.corpus, 300)
    teacher = language_model.build(SMALL.arm("AA"), corpus.vocab_size, 1)
    student = retrofit._swapped(teacher, 1)
    config = retrofit.runs(small)[0].config | {"tuning": 60, "rates": {retrofit.DISTILLED: 1e-2}}
    said: list[float] = []
    retrofit.distil(student, teacher, corpus, config, 1, lambda _d, _t, note="": said.append(float(note.split()[-1])))
    assert said[-1] < 0.7 * said[0]


def test_judged_retrofits_take_each_ways_best_rate(small: Options) -> None:
    tuning = retrofit.runs(small)
    assert not retrofit.follow_up(small, Evidence())
    ways = (retrofit.ATTENTION, retrofit.SCRATCH, *retrofit.WAYS)

    def found(spec: RunSpec) -> Record:
        rate = spec.config["rates"][retrofit.SCRATCH]
        lost = {
            way: {"tuning_nats": 4 + (rate if way == retrofit.SCRATCH else -rate), "diverged": False} for way in ways
        }
        return Record(spec.experiment, spec.config, spec.seed, lost, {}, 1.0)

    runs = retrofit.follow_up(small, Evidence(tuple(map(found, tuning))))
    assert len(runs) == SMALL.seeds
    rates = runs[0].config["rates"]
    assert rates == {way: 1e-3 if way == retrofit.SCRATCH else 2e-3 for way in ways}


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
    monkeypatch.setitem(SIZES, "full", replace(SMALL, layers=4))  # so that a quarter is a layer
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
