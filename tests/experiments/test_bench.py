"""The bench: every layer with attention in one run, or the reason why not, and how its records are read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench_samples import CPU, record, row

from audits.claims.hubrouter._bench_tables import not_run_table, ratio_table
from audits.claims.registry import all_claims
from audits.cli.bench import READERS
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Record
from audits.experiments.bench import _floor as floor
from audits.experiments.bench import bench as experiment
from audits.experiments.bench._admission import Limits
from audits.experiments.bench._measured import EXPERIMENT, benches
from audits.experiments.bench._row import PASSES, paired_ratio

TINY = experiment.Size(floor.Shape(16, 2, 3, 5, 8, 1, "float32"), (64,), Limits(30.0, 60.0, 1e9, 2, compiles=False))


def quiet(_done: int, _total: int, _note: str = "") -> None:
    """No progress is shown."""


def seen(*records: Record) -> Evidence:
    return Evidence(records)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setitem(experiment.SIZES, "quick", TINY)
    return Options()


def test_a_run_times_every_layer_or_says_why_not(tiny: Options) -> None:
    specs = {str(spec.config["pass"]): spec for spec in experiment.runs(tiny)}
    assert set(specs) == set(floor.PASSES)
    for passes, spec in specs.items():
        result = experiment.execute(spec, tiny, quiet)
        rows = {f"{r['layer']}/{r['impl']}": r for r in result["rows"]}
        assert list(rows) == spec.config["layers"]
        for found in rows.values():
            assert (found["not_run"] is None) == (len(found["seconds"]) == TINY.limits.rounds)
            assert (found["not_run"] is None) == (found["peak_bytes"] is not None)
        assert rows["hub/reference"]["not_run"] is None
        assert rows["attention/sdpa"]["flops"] == floor.work(floor.attention(TINY.shape), TINY.shape, 64, passes).flops
        assert "mamba-ssm" in rows["mamba/fused"]["not_run"] or "CUDA" in rows["mamba/fused"]["not_run"]
        assert "CUDA device" in rows["nsa/fla"]["not_run"]
        assert {len(top["seconds"]) for top in result["ceilings"].values()} == {TINY.limits.rounds}


def test_named_layers_are_measured_with_attention_and_the_projections(tiny: Options) -> None:
    specs = experiment.runs_of(tiny, ["mamba"])
    layers = {name.partition("/")[0] for name in specs[0].config["layers"]}
    assert layers == {"mamba", *experiment.BASE}


def test_a_machine_is_part_of_the_question_and_named_without_a_host(tiny: Options) -> None:
    assert experiment.machine_name({**CPU, "device": "NVIDIA H200"}, "cuda:0") == "nvidia-h200"
    assert experiment.machine_name({**CPU, "cpu": "AMD EPYC(tm) 9R14"}, "cpu") == "amd-epyc-tm-9r14-2-cores"
    assert all(spec.config["machine"] for spec in experiment.runs(tiny))


def test_those_who_read_records_know_the_names_that_the_experiment_gives() -> None:
    assert (EXPERIMENT, PASSES) == (experiment.NAME, floor.PASSES)


def test_no_claim_needs_the_bench_so_the_main_job_never_runs_it() -> None:
    assert experiment.EXPERIMENT.exclusive
    assert all(experiment.NAME not in claim.needs for claim in all_claims())
    assert set(READERS) <= {claim.id for claim in all_claims()}


def test_ratios_are_taken_within_the_rounds() -> None:
    slow_in_the_second = paired_ratio([2.0, 20.0, 2.1], [4.0, 40.0, 4.0])
    assert slow_in_the_second is not None
    assert (slow_in_the_second.median, slow_in_the_second.low, slow_in_the_second.high) == (0.5, 0.5, 0.525)
    assert paired_ratio([], [1.0]) is None
    assert paired_ratio([1.0, 2.0], [1.0]) is None


def test_median_and_spread_are_of_the_counted_rounds() -> None:
    (found,) = benches(seen(record(256, [row("attention/sdpa/flash", [0.004, 0.001, 0.002])])))
    (only,) = found.rows
    assert only.ms is not None
    assert (only.ms.median, only.ms.low, only.ms.high) == (2.0, 1.0, 4.0)


def test_floor_and_rates_are_those_of_the_same_run() -> None:
    (found,) = benches(seen(record(256, [row("hub/reference", [0.04] * 3, flops=2e9, bytes=1e8)])))
    (only,) = found.rows  # ceilings of the fastest round: 100 GFLOP/s, 10 GB/s
    assert only.floor_ms == pytest.approx(20.0)
    assert only.bound == "operations"
    assert only.flop_share == pytest.approx(0.5)
    assert only.byte_share == pytest.approx(0.25)
    (found,) = benches(seen(record(256, [row("hub/reference", [0.04] * 3, flops=1e9, bytes=3e8)])))
    assert (found.rows[0].floor_ms, found.rows[0].bound) == (pytest.approx(30.0), "traffic")


def test_the_cores_rate_leaves_out_the_projections_of_the_same_round() -> None:
    rows = [row("projections/linear", [0.01] * 3), row("hub/reference", [0.03] * 3, core_bytes=1.5e8)]
    (found,) = benches(seen(record(256, rows, passes="forward")))
    assert found.rows[1].core_share == pytest.approx(0.75)


def test_the_fastest_backend_represents_attention() -> None:
    rows = [row(f"attention/sdpa/{name}", taken) for name, taken in (("flash", 0.02), ("cudnn", 0.01))]
    rows += [row("attention/sdpa/efficient", "RuntimeError: no kernel"), row("hub/reference", 0.005)]
    (found,) = benches(seen(record(256, rows)))
    base, hub = found.rows
    assert base.backend == "cudnn"
    assert hub.ratio is not None
    assert hub.ratio.median == pytest.approx(0.5)


def test_without_attention_there_is_no_ratio_and_the_table_says_so() -> None:
    rows = [row("attention/sdpa/flash", "predicted 99 s a step, more than 20 s"), row("hub/reference", 0.005)]
    (found,) = benches(seen(record(65536, rows)))
    assert ratio_table(found, "forward+backward").rows == (("hub/reference", "no attention"),)
    assert not_run_table(found).rows == (
        ("attention/sdpa", "forward+backward", "65536", "predicted 99 s a step, more than 20 s"),
    )


def test_a_run_that_was_ended_leaves_a_row_a_layer_with_the_reason() -> None:
    whole = record(256, [row("attention/sdpa/flash", 0.01), row("hub/reference", 0.005)])
    ended = replace(whole, result=experiment.failed_result("ended after 1200 s"), config={**whole.config, "n": 512})
    (found,) = benches(seen(whole, ended))
    assert [(r.name, r.not_run) for r in found.rows if r.n == 512] == [
        ("attention/sdpa", "ended after 1200 s"),
        ("hub/reference", "ended after 1200 s"),
    ]


def test_the_highest_tier_of_a_machine_counts_and_machines_stay_apart() -> None:
    quick = record(256, [row("hub/reference", 0.1)], tier="quick", d_model=64)
    full = record(256, [row("hub/reference", 0.2)])
    other = record(256, [row("hub/reference", 0.3)], machine="another")
    found = {bench.machine: bench for bench in benches(seen(full, quick, other))}
    assert {name: bench.tier for name, bench in found.items()} == {"a-processor-2-cores": "full", "another": "full"}
    assert len(found["a-processor-2-cores"].rows) == 1


def test_layers_that_were_measured_again_replace_their_rows_alone() -> None:
    rows = [row("attention/sdpa/flash", 0.01), row("hub/reference", 0.005), row("mamba/loop", 0.5)]
    again = record(256, [row("attention/sdpa/flash", 0.02), row("hub/reference", 0.001)])
    (found,) = benches(seen(record(256, rows), again))
    assert [(r.name, r.ms and r.ms.median) for r in found.rows] == [
        ("attention/sdpa", 20.0),
        ("hub/reference", 1.0),
        ("mamba/loop", 500.0),
    ]
