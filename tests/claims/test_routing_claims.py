"""The claims of the companion paper: judged from made-up runs whose truth is known, and what they refuse to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audits.claims.claim import Claim, ClaimVerdict, Kind
from audits.claims.figures import Dots
from audits.claims.registry import all_claims
from audits.claims.routing import attack_chance, bm25, subspace
from audits.claims.routing._runs import CHANCE, ROUTES, routes, routing_runs
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.registry import all_experiments
from audits.experiments.routing import causality, long, long_seeds, retrieval
from audits.experiments.routing._plan import MIDDLE, NAME, runs
from audits.experiments.routing._rows import ROWS, rows
from audits.experiments.routing._task import FAR, PLAIN, TASKS

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
    made = [record(spec, result(spec, precision(spec))) for spec in planned(tier)]
    audits = [
        record(spec, {"verdict": "PASS" if spec.config["causal"] else "LEAK", "classes": [], "undecided": []})
        for spec in causality.runs(Options())
    ]
    return Evidence((*made, *audits))


def planned(tier: str) -> list[RunSpec]:
    studies = (runs, long.runs, long_seeds.runs)
    return [spec for study in studies for spec in study(Options(tier))]


def of_row(values: dict[str, float], default: float = 0.5) -> Precision:
    """The named mechanisms at these precisions, a little apart from seed to seed."""
    return lambda spec: values.get(spec.config["name"], default) + 0.002 * spec.seed


def test_every_row_that_the_paper_prints_is_judged_by_some_claim() -> None:
    judged: set[str] = set()
    for claim in CLAIMS.values():
        found = claim.judge(evidence(of_row({})))
        if not claim.id.startswith("attack"):
            judged |= {row[0] for table in found.tables for row in table.rows}
    families = {"sliding window", "linear attention", "linear attention-causal", "decay", "linformer", "performer"}
    families |= {"hub layer-causal", "hub scores-causal", "cosine", "random projection", "attention, position alone"}
    assert set(rows("full")) - judged <= families


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_without_runs_nothing_is_verified_and_no_claim_breaks(claim: Claim) -> None:
    found = claim.judge(Evidence())
    assert found.missing
    assert set(claim.needs) <= {experiment.name for experiment in all_experiments()}
    for tier in ("quick", "full"):
        assert claim.judge(evidence(of_row({}), tier)).verdict in ClaimVerdict


@pytest.mark.parametrize(
    ("precision", "verdict"),
    [(0.95, SUPPORTED), (0.45, REFUTED), (CHANCE_LEVEL + (1 - CHANCE_LEVEL) * ROUTES, OPEN)],
)
def test_a_claim_that_a_mechanism_routes_follows_its_precision(precision: float, verdict: ClaimVerdict) -> None:
    made = evidence(of_row({"perceiver, M = 16": precision, "perceiver, M = 1": 0.95}))
    found = CLAIMS["routing-perceiver"].judge(made)
    assert found.verdict is verdict
    assert found.minimum_detectable_effect
    assert len(found.evidence) == 12  # of each: three seeds, two other rates, one long run


@pytest.mark.parametrize("longer", [0.95, 0.6])
def test_longer_training_that_brings_more_forbids_to_say_that_a_mechanism_does_not_route(longer: float) -> None:
    def precision(spec: RunSpec) -> float:
        return longer if spec.experiment == long.NAME else 0.4

    found = CLAIMS["routing-perceiver"].judge(evidence(precision))
    assert found.verdict is OPEN
    assert found.seeds_needed == 3
    assert f"4 times as long {(longer - CHANCE_LEVEL) / (1 - CHANCE_LEVEL):.2f}" in found.reason


def test_several_seeds_that_route_after_longer_training_count() -> None:
    made = evidence(lambda spec: 0.95 if spec.experiment == long.NAME else 0.4 + 0.002 * spec.seed)
    cell = routing_runs(made).cell("segments, maximum")
    assert cell is not None
    assert len(cell.long) == 3
    assert routes(cell).holds


def test_one_learning_rate_that_routes_forbids_to_say_that_a_mechanism_does_not() -> None:
    def precision(spec: RunSpec) -> float:
        return 0.95 if spec.config["lr"] != MIDDLE else 0.4

    assert CLAIMS["routing-perceiver"].judge(evidence(precision)).verdict is OPEN


@pytest.mark.parametrize(
    ("far", "plain", "mqar", "verdict"),
    [
        (0.06, 0.06, 0.06, SUPPORTED),
        (0.44, 0.06, 0.06, SUPPORTED),
        (0.44, 1.0, 0.06, REFUTED),
        (0.06, 1.0, 0.5, REFUTED),
    ],
)
def test_a_failure_counts_in_either_version_of_the_task(
    far: float, plain: float, mqar: float, verdict: ClaimVerdict
) -> None:
    by_task = {FAR: far, PLAIN: plain}
    found = CLAIMS["routing-raw"].judge(evidence(lambda spec: by_task.get(spec.config["task"], mqar)))
    assert found.verdict is verdict


def test_runs_of_other_sizes_are_not_read() -> None:
    made = evidence(of_row({}))
    others = tuple(Record(r.experiment, r.config | {"steps": 7}, r.seed, r.result, {}, 1.0) for r in made.records)
    assert routing_runs(Evidence(others)).cell("raw") is None
    assert routing_runs(made).cell("raw") is not None


def test_a_missing_seed_is_named_and_nothing_is_judged() -> None:
    made = evidence(of_row({}))
    short = tuple(r for r in made.records if not (r.config.get("name") == "perceiver, M = 1" and r.seed == 2))
    found = CLAIMS["routing-perceiver"].judge(Evidence(short))
    assert found.missing
    assert "perceiver, M = 1 (far)" in found.reason


def test_depth_is_compared_seed_by_seed() -> None:
    deep = {"attention, 2 layers": 0.9, "attention, 4 layers": 0.9}
    assert CLAIMS["routing-depth"].judge(evidence(of_row({"attention": 0.9} | deep))).verdict is SUPPORTED
    assert CLAIMS["routing-depth"].judge(evidence(of_row({"attention": 0.6} | deep))).verdict is REFUTED


def test_a_straight_rise_is_no_jump_and_a_step_is_one() -> None:
    straight = evidence(of_row({"attention": 0.9}))
    assert CLAIMS["routing-jump"].judge(straight).verdict is REFUTED
    for r in straight.records:
        if r.config.get("name") == "attention":
            curve = r.result["curve"]
            curve["precision"] = [0.05 if step < 400 else 0.9 for step in curve["step"]]
    assert CLAIMS["routing-jump"].judge(straight).verdict is SUPPORTED


def test_the_subspace_counts_dimensions_of_energy_and_the_sign_of_the_gap() -> None:
    assert subspace.dimensions([1.0] * 9 + [0.0]) == 9
    assert subspace.dimensions([3.0, 1.0, 0.0]) == 1  # 9 of 10 parts of the energy
    made = evidence(of_row({}))
    assert CLAIMS["routing-subspace"].judge(made).verdict is SUPPORTED
    for r in made.records:
        if "cosine_gap" in r.result:
            r.result["cosine_gap"] = 0.2
    assert CLAIMS["routing-subspace"].judge(made).verdict is REFUTED


def test_printed_precisions_are_read_against_exact_chance() -> None:
    assert attack_chance.chance_of(16, 4) == pytest.approx(0.25)
    assert attack_chance.chance_of(16, 2) == pytest.approx(0.125)
    assert attack_chance.chance_of(512, 8) == pytest.approx(8 / 512)
    assert CLAIMS["attack-routing-chance"].judge(evidence(of_row({}))).verdict is REFUTED


def test_the_same_key_attack_needs_both_versions_above_chance() -> None:
    claim = CLAIMS["attack-routing-same-key"]
    assert claim.judge(evidence(of_row({"raw": 0.44}))).verdict is REFUTED
    plain_alone = evidence(lambda spec: 0.06 if spec.config["task"] == FAR else 0.9)
    assert claim.judge(plain_alone).verdict is SUPPORTED


@pytest.mark.parametrize(("alone", "verdict"), [(0.95, REFUTED), (0.5, SUPPORTED)])
def test_the_query_of_a_rank_one_score_counts_by_what_it_adds(alone: float, verdict: ClaimVerdict) -> None:
    made = evidence(of_row({"attention, rank-1": 0.96, "attention, position alone": alone}))
    assert CLAIMS["attack-routing-rank-one"].judge(made).verdict is verdict


def test_one_causal_mechanism_that_routes_refutes_the_need_of_bidirectional_context() -> None:
    claim = CLAIMS["attack-routing-bidirectional"]
    found = claim.judge(evidence(of_row({"attention-causal": 0.95})))
    assert found.verdict is REFUTED
    assert "Causal and routing: attention-causal;" in found.reason
    assert claim.judge(evidence(of_row({}, 0.06))).verdict is SUPPORTED
    assert claim.judge(evidence(of_row({}, 0.4))).verdict is OPEN


def test_a_causal_mechanism_that_leaks_voids_the_attack_and_fails_the_gate() -> None:
    made = evidence(of_row({"attention-causal": 0.95}))
    for r in made.records:
        if r.experiment == causality.NAME:
            r.result["verdict"] = "LEAK"
    found = CLAIMS["attack-routing-bidirectional"].judge(made)
    assert found.verdict is OPEN
    assert not found.gate


def test_the_landscape_shows_every_mechanism_with_cost_and_audit() -> None:
    found = CLAIMS["attack-routing-bidirectional"].judge(evidence(of_row({})))
    labels = [column.label for figure in found.figures if isinstance(figure, Dots) for column in figure.columns]
    assert len(labels) == len(rows("full"))
    assert "attention, O(N² D), reads the future" in labels
    assert "attention-causal, O(N² D), causal: PASS" in labels
    assert not any("not audited" in label for label in labels)


def test_accuracy_far_below_precision_refutes_that_one_is_a_proxy_for_the_other() -> None:
    made = evidence(of_row({"attention": 0.95}))
    assert CLAIMS["attack-routing-accuracy"].judge(made).verdict is REFUTED
    for r in made.records:
        if r.experiment == NAME:
            r.result["accuracy"] = r.result["precision"]
    assert CLAIMS["attack-routing-accuracy"].judge(made).verdict is SUPPORTED
    assert CLAIMS["attack-routing-accuracy"].judge(evidence(of_row({}))).verdict is OPEN  # nothing routes


def test_what_was_not_trained_longer_is_not_said_to_fail() -> None:
    made = evidence(of_row({"sparse": 0.3}))
    cell = routing_runs(made).cell("sparse")
    assert cell is not None
    assert cell.long == ()
    assert routes(cell).holds is None


@pytest.mark.parametrize(("found", "verdict"), [(36, SUPPORTED), (4, REFUTED), (11, OPEN)])
def test_bm25_is_judged_against_exact_chance(found: int, verdict: ClaimVerdict) -> None:
    (spec,) = retrieval.runs(Options())
    made = {
        "found": [True] * found + [False] * (40 - found),
        "chance": bm25.chance_of(2),
        "supported": [2] * 40,
    }
    if verdict is REFUTED:
        made["chance"] = 0.6
    assert CLAIMS["routing-bm25"].judge(Evidence((record(spec, made),))).verdict is verdict
    assert bm25.chance_of(1) == pytest.approx(0.125)


def test_hubs_are_our_own_question() -> None:
    assert CLAIMS["routing-hub"].kind is Kind.ATTACK
    assert CHANCE < ROUTES
    assert set(TASKS["full"]) >= {FAR, PLAIN}
    assert all(name in ROWS for name in rows("paper"))
