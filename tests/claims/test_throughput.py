"""Throughput by baseline tier: timed in turns, too slow is recorded and not dropped, and every verdict is reached."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy import stats

from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter import throughput_90x, throughput_optimised
from audits.claims.hubrouter._throughput import interval_of_median, measured
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench import throughput

SMALL = throughput.Size(16, 2, (16,), 1, 3, 60.0)
SETTING = {"tier": "full", "d_model": 256, "layers": 8, "batch": 1, "rounds": 5, "limit": 30.0}
JITTER = (1.0, 1.02, 0.98, 1.01, 0.99)
LAYERS = {("hub", None): 0.01, ("attention", None): 0.012, ("mamba", "loop"): 0.2, ("mamba", "matmul"): 0.02}
MODELS = {
    ("Hub-GPT", None): 0.1,
    ("Transformer", None): 0.12,
    ("Hub-Jamba", "loop"): 1.5,
    ("Jamba", "loop"): 1.502,
    ("Hub-Jamba", "matmul"): 0.2,
    ("Jamba", "matmul"): 0.202,
}

Times = dict[tuple[str, str | None], float | str]


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setitem(throughput.TIERS, "quick", SMALL)
    return Options()


def row(subject: str, scan: str | None, taken: float | str, jitter: tuple[float, ...]) -> dict[str, Any]:
    named = {"subject": subject, "scan": scan, "tokens": 1024}
    if isinstance(taken, str):
        return {**named, "not_run": taken}
    # A rotation keeps the rounds of two subjects from moving together.
    turn = len(subject) % len(jitter)
    return {**named, "not_run": None, "seconds": [taken * j for j in jitter[turn:] + jitter[:turn]]}


def record(
    what: str, times: Times, n: int, jitter: tuple[float, ...], disagreement: float, device: str, commit: str
) -> Record:
    rows = [row(subject, scan, taken, jitter) for (subject, scan), taken in times.items()]
    result = {"rows": rows, "disagreement": {"loop": 0.0, "matmul": disagreement, "fused": None}, "threads": 1}
    where = {"cpu": "a processor", "device": "a GPU"}
    config = {"what": what, "n": n, "device": device, **SETTING}
    return Record("throughput", config, 0, result, where, 1.0, commit=commit)


def evidence(
    changed: Times | None = None,
    *,
    n: int = 1024,
    jitter: tuple[float, ...] = JITTER,
    disagreement: float = 1e-6,
    device: str = "cuda",
    commit: str = "abc",
) -> Evidence:
    """Layers and models at one length, some of them with other times."""
    rest = (n, jitter, disagreement, device, commit)
    return Evidence((record("layer", {**LAYERS}, *rest), record("model", {**MODELS, **(changed or {})}, *rest)))


def test_runs_on_a_cpu_are_shown_and_decide_nothing() -> None:
    for changed in ({}, {("Jamba", "loop"): 9.5}, {("Jamba", "matmul"): 1.2}):
        for claim in (throughput_90x, throughput_optimised):
            judgement = claim.judge(evidence(changed, device="cpu"))
            assert (judgement.verdict, judgement.missing) == (ClaimVerdict.NOT_TESTABLE, False)
            assert "a processor" in judgement.details
            assert "--device cuda" in judgement.would_change
            assert judgement.tables
    assert "loop 1.01x, matmul 1.02x" in throughput_90x.judge(evidence(device="cpu")).details


def test_runs_on_a_gpu_count_alone_where_there_are_any() -> None:
    both = Evidence((*evidence().records, *evidence({("Jamba", "loop"): 9.5}, device="cpu").records))
    judgement = throughput_90x.judge(both)
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "a GPU" in judgement.details


def test_runs_from_a_tree_with_changes_are_marked_and_decide_nothing() -> None:
    for claim in (throughput_90x, throughput_optimised):
        judgement = claim.judge(evidence(commit="abc+"))
        assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
        assert "(commit ending in +): 2 of 2" in judgement.details


def test_a_stalled_step_changes_no_multiplier_and_is_named() -> None:
    given = evidence().records
    stalled = [dict(r) for r in given[1].result["rows"]]
    loop = next(r for r in stalled if (r["subject"], r["scan"]) == ("Hub-Jamba", "loop"))
    loop["seconds"] = [*loop["seconds"][:-1], 465.0]
    model = replace(given[1], result={**given[1].result, "rows": stalled})
    judgement = throughput_90x.judge(Evidence((given[0], model)))
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "loop 1.0" in judgement.details
    assert "left out: Hub-Jamba (loop) at n = 1024: 465 s." in judgement.details


@pytest.mark.parametrize(("n", "rank"), [(5, 1), (7, 1), (9, 2), (20, 6)])
def test_the_interval_of_a_median_is_that_of_the_sign_test(n: int, rank: int) -> None:
    found = interval_of_median([float(i) for i in range(1, n + 1)])
    assert (found.low, found.high) == (rank, n + 1 - rank)
    covered = 1 - 2 * stats.binom.cdf(rank - 1, n, 0.5)
    assert covered >= 0.95 or (n, rank) == (5, 1)


def test_no_tier_that_reaches_the_multiplier_refutes_it_for_this_machine() -> None:
    judgement = throughput_90x.judge(evidence())
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert "a GPU" in judgement.details
    assert "loop 1.01x, matmul 1.02x" in judgement.details
    assert "Hub-GPT against Jamba (loop), 15" in judgement.details
    assert len(judgement.evidence) == 2


def test_a_tier_that_reaches_it_supports_the_claim_for_that_tier_only() -> None:
    judgement = throughput_90x.judge(evidence({("Jamba", "loop"): 9.5}))
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert "Deciding: Hub-GPT against Jamba (loop)" in judgement.details


def test_a_tier_left_out_for_its_time_leaves_the_claim_open() -> None:
    judgement = throughput_90x.judge(evidence({("Jamba", "loop"): "predicted 57 s a step, more than 30 s"}))
    assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
    assert "predicted 57 s" in judgement.details
    assert judgement.minimum_detectable_effect


def test_a_tier_that_the_machine_does_not_have_does_not() -> None:
    missing: Times = dict.fromkeys([("Jamba", "fused"), ("Hub-Jamba", "fused")], "scan='fused' needs a CUDA device")
    judgement = throughput_90x.judge(evidence(missing))
    assert judgement.verdict is ClaimVerdict.REFUTED
    assert any(
        "not run: scan='fused' needs a CUDA device" in cell for t in judgement.tables for r in t.rows for cell in r
    )


def test_rounds_that_scatter_too_much_leave_both_claims_open() -> None:
    noisy = evidence({("Jamba", "loop"): 9.5, ("Jamba", "matmul"): 1.2}, jitter=(1.0, 2.5, 0.6, 2.0, 0.5))
    for claim in (throughput_90x, throughput_optimised):
        judgement = claim.judge(noisy)
        assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
        assert "a factor of" in str(judgement.minimum_detectable_effect)


def test_tiers_that_compute_different_functions_void_both_claims() -> None:
    for claim in (throughput_90x, throughput_optimised):
        judgement = claim.judge(evidence(disagreement=0.1))
        assert judgement.verdict is ClaimVerdict.INCONCLUSIVE
        assert "different functions" in judgement.reason


@pytest.mark.parametrize("given", [Evidence(), evidence(n=256)])
def test_without_whole_models_at_the_printed_length_nothing_is_verified(given: Evidence) -> None:
    for claim in (throughput_90x, throughput_optimised):
        judgement = claim.judge(given)
        assert judgement.verdict is ClaimVerdict.NOT_TESTABLE
        assert judgement.missing
        assert judgement.tables


def test_a_multiplier_outside_the_estimate_refutes_it_and_one_inside_supports_it() -> None:
    assert throughput_optimised.judge(evidence()).verdict is ClaimVerdict.REFUTED
    judgement = throughput_optimised.judge(evidence({("Jamba", "matmul"): 1.2}))
    assert judgement.verdict is ClaimVerdict.SUPPORTED
    assert "Hub-GPT against Jamba (matmul): 12" in judgement.details


def test_fused_kernels_are_the_optimised_tier_where_they_were_run() -> None:
    given = evidence({("Jamba", "fused"): 0.15, ("Hub-Jamba", "fused"): 0.149})
    asked = [m for m in measured(given).at(1024) if m.optimised]  # type: ignore[union-attr]
    assert {m.baseline for m in asked} == {"Jamba (fused)"}


def test_amdahls_row_bounds_what_replacing_one_layer_can_gain() -> None:
    table = next(t for t in throughput_90x.judge(evidence()).tables if t.title.startswith("Amdahl"))
    loop = next(r for r in table.rows if r[0] == "loop")
    assert loop[-1] == "1.01x"  # 1502 ms with, 1490 ms without the attention layer


def test_every_comparison_has_its_curve_and_gaps_are_named() -> None:
    given = evidence({("Jamba", "loop"): "predicted 57 s a step, more than 30 s"})
    layers, matched, pure = throughput_90x.judge(given).figures
    assert [s.label for s in layers.series] == [  # type: ignore[union-attr]
        "against attention", "against loop", "against matmul", "published, baseline unknown",
    ]  # fmt: skip
    assert "Jamba (loop) at n = 1024 (predicted 57 s" in matched.note
    assert all(p.low is not None and p.low <= p.y <= (p.high or 0) for p in pure.series[0].points)  # type: ignore[union-attr]


def test_a_whole_run_times_every_tier_or_says_why_not(small: Options) -> None:
    results = {str(s.config["what"]): throughput.execute(s, small, quiet) for s in throughput.runs(small)}
    assert set(results) == {"layer", "model"}
    for result in results.values():
        for found in result["rows"]:
            assert (found["not_run"] is None) == (len(found.get("seconds", ())) == SMALL.rounds)
            assert found["not_run"] is None or found["scan"] == "fused"
        assert result["disagreement"]["fused"] is None or torch.cuda.is_available()
        assert max(v for v in result["disagreement"].values() if v is not None) < 1e-5
    assert {r["scan"] for r in results["model"]["rows"] if r["subject"] == "Jamba"} == set(throughput.SCANS)


def test_a_step_that_would_take_too_long_is_predicted_and_not_run(
    small: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(throughput.TIERS, "quick", throughput.Size(16, 2, (16,), 1, 1, 1e-9))
    result = throughput.execute(throughput.runs(small)[0], small, quiet)
    assert all(found["not_run"] for found in result["rows"])
    slow = next(found for found in result["rows"] if found["scan"] == "loop")
    assert slow["not_run"].startswith("predicted")
    assert slow["predicted_s"] > 0


def test_equal_models_have_equal_weights_in_every_tier() -> None:
    config = {"what": "model", "d_model": 16, "layers": 2}
    jambas = [throughput.Step(s, 1, 16, "cpu") for s in throughput.subjects_of(config) if s.name == "Jamba"]
    first = jambas[0].module.state_dict()
    for other in jambas[1:]:
        state = other.module.state_dict()
        assert all(torch.equal(first[name], state[name]) for name in first)
