"""The claims of the companion paper: judged from made-up runs whose truth is known, and what they refuse to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audits.claims.claim import Claim, ClaimVerdict
from audits.claims.figures import Dots
from audits.claims.registry import all_claims
from audits.claims.routing import attack_chance, bm25, subspace
from audits.claims.routing._runs import routing_runs
from audits.evidence.experiment import Options, RunSpec
from audits.evidence.ledger import Evidence, Record
from audits.experiments.registry import all_experiments
from audits.experiments.routing import causality, retrieval
from audits.experiments.routing._plan import NAME, follow_up, runs
from audits.experiments.routing._rows import rows
from audits.experiments.routing._task import FAR

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


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.id)
def test_without_runs_nothing_is_verified_and_no_claim_breaks(claim: Claim) -> None:
    found = claim.judge(Evidence())
    assert found.missing
    assert set(claim.needs) <= {experiment.name for experiment in all_experiments()}
    for tier in ("quick", "full"):
        assert claim.judge(evidence(of_row({}), tier)).verdict in ClaimVerdict


def test_runs_of_other_sizes_are_not_read() -> None:
    made = evidence(of_row({}))
    others = tuple(Record(r.experiment, r.config | {"steps": 7}, r.seed, r.result, {}, 1.0) for r in made.records)
    assert routing_runs(Evidence(others)).cell("raw") is None
    assert routing_runs(made).cell("raw") is not None


def test_depth_is_compared_seed_by_seed() -> None:
    deep = {"attention, 2 layers": 0.9, "attention, 4 layers": 0.9}
    assert CLAIMS["routing-depth"].judge(evidence(of_row({"attention": 0.9} | deep))).verdict is SUPPORTED
    assert CLAIMS["routing-depth"].judge(evidence(of_row({"attention": 0.6} | deep))).verdict is REFUTED


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
