"""The claims of the companion paper: judged from made-up runs whose truth is known, and what they refuse to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from audits.claims.claim import Claim, ClaimVerdict, Judgement, Kind
from audits.claims.figures import Dots
from audits.claims.registry import all_claims
from audits.claims.routing import attack_chance, bm25, subspace
from audits.claims.routing._mechanism import Assertion
from audits.claims.routing._runs import Cell, at_chance, routes, routing_runs, short_of
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.registry import all_experiments
from audits.experiments.routing import causality, retrieval
from audits.experiments.routing._plan import BANDIT_SEEDS, NAME, RATES, TRAINED_OUT, TUNING_SEED, follow_up, runs
from audits.experiments.routing._rows import ROWS, rows
from audits.experiments.routing._task import FAR, MANY, MQAR, PLAIN, SMALL, VALUE
from audits.experiments.training.corpus import CorpusError

CLAIMS = {claim.id: claim for claim in all_claims() if "routing" in claim.id}
SUPPORTED, REFUTED, OPEN = ClaimVerdict.SUPPORTED, ClaimVerdict.REFUTED, ClaimVerdict.INCONCLUSIVE
CHANCE_LEVEL = 0.0617
Precision = Callable[[RunSpec], float]


def record(spec: RunSpec, result: dict[str, Any]) -> Record:
    return Record(spec.experiment, spec.config, spec.seed, result, {}, 1.0, "code")


def result(spec: RunSpec, precision: float) -> dict[str, Any]:
    """A run that rises in a straight line."""
    steps = list(range(0, spec.config["steps"] + 1, spec.config["every"]))
    width = spec.config["d_model"]
    return {
        "precision": precision, "accuracy": precision / 2, "chance": CHANCE_LEVEL, "share": 0.06, "rank": 3.0,
        "curve": {"step": steps, "precision": [precision * s / steps[-1] for s in steps], "accuracy": steps},
        "diverged": False, "parameters": 1, "random_projection": CHANCE_LEVEL, "cosine": 0.3, "cosine_gap": -0.1,
        "spectrum": [1.0] * (width // 8) + [0.001] * (width - width // 8),
    }  # fmt: skip


def evidence(precision: Precision, tier: str = "full") -> Evidence:
    """All runs of a tier, those that hang on the tuning included, and the audits."""
    options = Options(tier)
    made = [record(spec, result(spec, precision(spec))) for spec in runs(options)]
    made += [record(spec, result(spec, precision(spec))) for spec in follow_up(options, Evidence(tuple(made)))]
    audits = [
        record(spec, {"verdict": "PASS" if spec.config["causal"] else "LEAK", "classes": [], "undecided": []})
        for spec in causality.runs(options)
    ]
    return Evidence((*made, *audits))


def of_row(values: dict[str, float], default: float = 0.5) -> Precision:
    """The named mechanisms at these precisions, a little apart from seed to seed."""
    return lambda spec: values.get(spec.config["name"], default) + 0.002 * (spec.seed % 100)


def of_task(values: dict[str, float], default: float) -> Precision:
    """The named tasks at these precisions."""
    return lambda spec: values.get(spec.config["task"], default) + 0.0002 * (spec.seed % 100)


@cache
def pattern(number: int, tier: str) -> Evidence:
    """Everything in between, everything routes, nothing does, and readings that disagree; made once, for all claims."""
    patterns = (of_row({}), of_row({}, 0.96), of_row({}, 0.06), of_task({VALUE: 0.06, MANY: 0.12}, 0.97))
    return evidence(patterns[number], tier)


def judged(claim: str, precision: Precision, tier: str = "full") -> Judgement:
    return CLAIMS[claim].judge(evidence(precision, tier))


def is_long(spec: RunSpec, times: int = 4) -> bool:
    return bool(spec.config["steps"] == 800 * times)


def test_every_row_that_the_paper_prints_is_judged_by_some_claim() -> None:
    seen: set[str] = set()
    made = evidence(of_row({}))
    for claim in CLAIMS.values():
        if not claim.id.startswith("attack"):
            seen |= {row[0] for table in claim.judge(made).tables for row in table.rows}
    families = {"sliding window", "linear attention", "linear attention-causal", "decay", "linformer", "performer"}
    families |= {"hub layer", "hub layer-causal", "hub scores", "hub scores-causal", "attention, position alone"}
    assert set(rows("full")) - seen <= families


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_without_runs_nothing_is_verified_and_every_reason_is_one_short_sentence(claim: Claim) -> None:
    if claim.needs:
        assert claim.judge(Evidence()).missing
    assert set(claim.needs) <= {experiment.name for experiment in all_experiments()}
    for tier in ("quick", "full", "paper"):
        for number in range(4):
            found = claim.judge(pattern(number, tier))
            assert found.verdict in ClaimVerdict
            assert len(found.reason.split()) <= 25, found.reason
            if found.verdict is OPEN:
                assert found.minimum_detectable_effect


@pytest.mark.parametrize(("precision", "verdict"), [(0.95, SUPPORTED), (0.45, OPEN), (0.81, OPEN)])
def test_a_claim_that_a_mechanism_routes_follows_its_precision(precision: float, verdict: ClaimVerdict) -> None:
    found = judged("routing-perceiver", of_row({"perceiver, M = 16": precision, "perceiver, M = 1": 0.95}))
    assert found.verdict is verdict
    assert found.minimum_detectable_effect
    assert len(found.evidence) == 2 * (3 + 3 * 3 + 3)  # of each: tuning, three readings, longer training


def test_that_a_mechanism_does_not_route_needs_longer_training_without_a_gain() -> None:
    def cell(longer: float) -> Cell:
        found = routing_runs(evidence(lambda s: longer if is_long(s) else 0.4 + 0.002 * s.seed % 0.01)).cell(
            "hub scores"
        )
        assert found is not None
        return found

    assert routes(cell(0.4)).holds is False
    assert short_of(cell(0.4)).holds is True
    assert routes(cell(0.6)).holds is None
    assert routes(cell(0.95)).holds is True
    sparse = routing_runs(evidence(of_row({}, 0.3))).cell("sparse")  # not trained longer
    assert sparse is not None
    assert routes(sparse).holds is None


def test_one_learning_rate_that_routes_forbids_to_say_that_a_mechanism_does_not() -> None:
    def precision(spec: RunSpec) -> float:
        return 0.95 if spec.seed == TUNING_SEED and spec.config["lr"] == RATES[0] else 0.4

    cell = routing_runs(evidence(precision)).cell("hub scores")
    assert cell is not None
    assert {record.config["lr"] for record in cell.seeds} == {RATES[0]}
    assert routes(cell).holds is None
    assert cell.mean().mean == pytest.approx((0.4 - CHANCE_LEVEL) / (1 - CHANCE_LEVEL))  # tuning runs judge nothing


@pytest.mark.parametrize(
    ("far", "value", "plain", "verdict", "says"),
    [
        (0.06, 0.06, 0.06, SUPPORTED, "In every reading"),
        (0.44, 0.44, 0.44, REFUTED, "is above chance"),
        (0.44, 0.06, 1.0 - 1e-3, OPEN, "is at chance (the value as target)"),
        (0.06, 0.06, 0.99, OPEN, "is above chance (distractors of other keys)"),
    ],
)
def test_readings_that_disagree_leave_a_claim_open_and_are_named(
    far: float, value: float, plain: float, verdict: ClaimVerdict, says: str
) -> None:
    found = judged("routing-closed-loop", of_task({FAR: far, MANY: far, VALUE: value, PLAIN: plain}, 0.5))
    assert found.verdict is verdict
    assert says in found.reason
    assert "normalised by chance" in found.details
    attack = judged("attack-routing-same-key", of_task({FAR: far, MANY: far, VALUE: value, PLAIN: plain}, far))
    assert attack.verdict is {SUPPORTED: REFUTED, REFUTED: SUPPORTED}.get(verdict, OPEN)


def test_a_reading_that_would_decide_and_was_not_run_leaves_a_claim_open() -> None:
    fails, holds = Assertion(at_chance, "raw", (FAR,)), Assertion(routes, "raw", (FAR,))
    assert fails.unread(True, {FAR}) == PLAIN
    assert fails.unread(False, {FAR}) == MANY
    assert holds.unread(True, {FAR}) == MANY
    assert holds.unread(False, {FAR}) == PLAIN
    assert holds.unread(True, {FAR, MANY}) is None
    assert Assertion(at_chance, "raw", (MQAR,)).unread(False, {MQAR}) is None
    found = judged("routing-linear-scores", of_row({}, 0.98))
    assert found.verdict is OPEN
    assert "was not run with 32 like distractors" in found.reason


@pytest.mark.parametrize("claim", ["routing-near", "routing-memory-banks", "routing-frozen"])
@pytest.mark.parametrize("precision", [0.06, 0.5, 0.97])
def test_what_the_paper_does_not_describe_or_we_do_not_have_is_not_testable(claim: str, precision: float) -> None:
    found = judged(claim, of_row({}, precision))
    assert found.verdict is ClaimVerdict.NOT_TESTABLE
    assert not found.missing
    assert "seeds" in found.details


def test_at_the_papers_size_the_loaded_models_decide() -> None:
    found = judged("routing-frozen", of_row({"frozen Pythia-1B, attention": 0.98}, 0.98), "paper")
    assert found.verdict is REFUTED
    assert "Pythia" in found.details


def test_causal_flow_stays_open_at_our_distance_and_is_judged_at_the_papers() -> None:
    assert judged("routing-flow-causal", of_row({}, 0.06)).verdict is OPEN
    assert judged("routing-flow-causal", of_row({}, 0.06), "paper").verdict is SUPPORTED
    assert judged("routing-flow-causal", of_row({}, 0.6), "paper").verdict is REFUTED


def test_runs_of_other_sizes_are_not_read() -> None:
    made = evidence(of_row({}))
    others = tuple(Record(r.experiment, r.config | {"steps": 7}, r.seed, r.result, {}, 1.0) for r in made.records)
    assert routing_runs(Evidence(others)).cell("raw") is None
    assert routing_runs(made).cell("raw") is not None


def test_a_missing_seed_is_named_and_nothing_is_judged() -> None:
    made = evidence(of_row({}))
    short = tuple(r for r in made.records if not (r.config.get("name") == "perceiver, M = 1" and r.seed == 102))
    found = CLAIMS["routing-perceiver"].judge(Evidence(short))
    assert found.missing
    assert "perceiver, M = 1 (far)" in found.reason


def test_precision_is_normalised_by_what_content_alone_reaches_too() -> None:
    made = evidence(of_task({FAR: 4 / 9, MANY: 1.0 - 1e-9}, 0.5))
    cells = [routing_runs(made).cell("raw", task) for task in (FAR, MANY, PLAIN)]
    far, many, plain = (cell.beyond_content if cell else None for cell in cells)
    assert far is not None
    assert many is not None
    assert far.mean == pytest.approx(0, abs=1e-3)
    assert many.mean == pytest.approx(1, abs=1e-3)
    assert plain is None  # content alone can reach everything
    table = CLAIMS["routing-raw"].judge(made).tables[0]
    assert {"normalised by chance", "normalised by content alone"} <= set(table.header)


def test_bandits_have_more_seeds_and_no_rate() -> None:
    cell = routing_runs(evidence(of_row({}))).cell("LinUCB")
    assert cell is not None
    assert len(cell.seeds) == len(cell.long) == BANDIT_SEEDS
    assert cell.swept == ()


def test_depth_is_compared_seed_by_seed() -> None:
    deep = {"attention, 2 layers": 0.9, "attention, 4 layers": 0.9}
    assert judged("routing-depth", of_row({"attention": 0.9} | deep)).verdict is SUPPORTED
    assert judged("routing-depth", of_row({"attention": 0.6} | deep)).verdict is REFUTED


def test_a_straight_rise_is_no_jump_and_a_step_is_one() -> None:
    straight = evidence(of_row({"attention": 0.9}))
    assert CLAIMS["routing-jump"].judge(straight).verdict is REFUTED
    for r in straight.records:
        if r.config.get("name") == "attention":
            curve = r.result["curve"]
            curve["precision"] = [0.05 if step < 400 else 0.9 for step in curve["step"]]
    assert CLAIMS["routing-jump"].judge(straight).verdict is SUPPORTED


def test_the_subspace_counts_dimensions_of_energy_and_the_sign_of_the_gap_in_every_reading() -> None:
    assert subspace.dimensions([1.0] * 9 + [0.0]) == 9
    assert subspace.dimensions([3.0, 1.0, 0.0]) == 1  # 9 of 10 parts of the energy
    made = evidence(of_row({}))
    assert CLAIMS["routing-subspace"].judge(made).verdict is SUPPORTED
    for task, verdict in ((VALUE, OPEN), (None, REFUTED)):
        for r in made.records:
            if "cosine_gap" in r.result and task in (None, r.config["task"]):
                r.result["cosine_gap"] = 0.2
        assert CLAIMS["routing-subspace"].judge(made).verdict is verdict


def test_printed_precisions_are_read_against_exact_chance() -> None:
    assert attack_chance.chance_of(16, 4) == pytest.approx(0.25)
    assert attack_chance.chance_of(16, 2) == pytest.approx(0.125)
    assert attack_chance.chance_of(512, 8) == pytest.approx(8 / 512)
    assert CLAIMS["attack-routing-chance"].judge(Evidence()).verdict is SUPPORTED
    assert attack_chance.rule((("segments", 0.5, 16, 4),)).verdict is REFUTED


@pytest.mark.parametrize(("alone", "verdict"), [(0.95, SUPPORTED), (0.5, REFUTED)])
def test_the_query_of_a_rank_one_score_counts_by_what_it_adds(alone: float, verdict: ClaimVerdict) -> None:
    found = judged("attack-routing-rank-one", of_row({"attention, rank-1": 0.96, "attention, position alone": alone}))
    assert found.verdict is verdict


def test_one_causal_mechanism_that_routes_in_every_reading_is_enough() -> None:
    found = judged("attack-routing-bidirectional", of_row({"attention-causal": 0.95}))
    assert found.verdict is SUPPORTED
    assert found.reason.startswith("attention-causal routes")
    assert judged("attack-routing-bidirectional", of_row({}, 0.06)).verdict is REFUTED
    assert judged("attack-routing-bidirectional", of_row({}, 0.4)).verdict is OPEN
    one = judged("attack-routing-bidirectional", of_task({FAR: 0.95}, 0.4))
    assert one.verdict is OPEN  # in one reading alone


def test_a_causal_mechanism_that_leaks_voids_the_attack_and_fails_the_gate() -> None:
    made = evidence(of_row({"attention-causal": 0.95}))
    for r in made.records:
        if r.experiment == causality.NAME:
            r.result["verdict"] = "LEAK"
    found = CLAIMS["attack-routing-bidirectional"].judge(made)
    assert found.verdict is OPEN
    assert not found.gate


def test_the_landscape_shows_every_mechanism_with_cost_and_audit_between_the_two_ceilings() -> None:
    found = judged("attack-routing-bidirectional", of_row({}))
    panels = [figure for figure in found.figures if isinstance(figure, Dots)]
    labels = [column.label for panel in panels for column in panel.columns]
    assert len(labels) == len(rows("full"))
    assert "attention, O(N² D), reads the future" in labels
    assert "attention-causal, O(N² D), causal: PASS" in labels
    assert not any("not audited" in label for label in labels)
    for panel in panels:
        lines = {line.label: line.value for line in panel.references}
        assert lines["exact chance"] == 0
        assert lines["content alone at best"] == pytest.approx((4 / 9 - CHANCE_LEVEL) / (1 - CHANCE_LEVEL))
        assert "normalised by exact chance" in panel.y_label


@pytest.mark.parametrize(
    ("shorter", "longest", "verdict"), [(0.5, 0.52, SUPPORTED), (0.5, 0.93, REFUTED), (0.3, 0.5, OPEN)]
)
def test_accuracy_is_compared_with_precision_where_the_head_is_trained_out(
    shorter: float, longest: float, verdict: ClaimVerdict
) -> None:
    made = evidence(of_row({"attention": 0.95}))
    for r in made.records:
        if r.config.get("task") == SMALL:
            long = r.config["steps"] == 800 * TRAINED_OUT[1]
            r.result["accuracy"] = (longest if long else shorter) + 0.001 * (r.seed % 100)
    assert CLAIMS["attack-routing-accuracy"].judge(made).verdict is verdict
    assert judged("attack-routing-accuracy", of_row({}, 0.5)).verdict is OPEN  # it does not route


@pytest.mark.parametrize(("precision", "verdict"), [(0.44, SUPPORTED), (0.9, REFUTED)])
def test_hub_scores_are_compared_with_content_alone(precision: float, verdict: ClaimVerdict) -> None:
    many = {MANY: 0.12} if verdict is SUPPORTED else {}
    assert judged("attack-routing-hub", of_task(many, precision)).verdict is verdict
    assert judged("attack-routing-hub", of_task({MANY: 0.9}, 0.44)).verdict is OPEN


def test_bm25_on_invented_questions_decides_nothing() -> None:
    (spec,) = retrieval.runs(Options())
    made = {"found": [True] * 36 + [False] * 4, "chance": bm25.chance_of(2), "supported": [2] * 40}
    found = CLAIMS["routing-bm25"].judge(Evidence((record(spec, made),)))
    assert found.verdict is ClaimVerdict.NOT_TESTABLE
    assert "36/40" in found.details
    assert bm25.chance_of(1) == pytest.approx(0.125)


def test_bm25_is_decided_by_a_file_of_hotpotqa(tmp_path: Path) -> None:
    file = tmp_path / "dev.json"
    file.write_text(files("hubrouter.diagnostic").joinpath("data/hotpot_small.json").read_text())
    options = Options(hotpot=str(file))
    bundled, given = retrieval.runs(options)
    results = [retrieval.execute(spec, options, lambda *_: None) for spec in (bundled, given)]
    assert results[0] == results[1]
    both = Evidence((record(given, results[1]), record(bundled, results[0])))
    assert CLAIMS["routing-bm25"].judge(both).verdict is ClaimVerdict.SUPPORTED  # 32 of 40, which holds 82.7 %
    for hits, verdict in ((400, SUPPORTED), (200, OPEN), (50, REFUTED)):
        made = {"found": [True] * hits + [False] * (484 - hits), "chance": 0.24, "supported": [2] * 484}
        assert CLAIMS["routing-bm25"].judge(Evidence((record(given, made),))).verdict is verdict


def test_a_file_that_is_not_hotpotqa_is_refused_in_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('[{"question": 1}]')
    for path in (other, tmp_path / "absent.json"):
        with pytest.raises(CorpusError) as refused:
            retrieval.runs(Options(hotpot=str(path)))
        assert "\n" not in str(refused.value)
        assert path.name in str(refused.value)


def test_attacks_are_ours_and_assert_what_they_attack_with() -> None:
    attacks = {claim.id for claim in CLAIMS.values() if claim.kind is Kind.ATTACK}
    assert attacks == {claim for claim in CLAIMS if claim.startswith("attack-")}
    assert all(name in ROWS for name in rows("paper"))
    assert {spec.experiment for spec in runs(Options("full"))} == {NAME}
    assert replace(Assertion(routes, "raw"), key="random_projection").words.startswith("random projections of raw")
