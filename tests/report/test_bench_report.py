"""What the reports, the claims and the command make of the bench's records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_samples import decoding, record, row, training

from audits.__main__ import main
from audits.claims.claim import ClaimVerdict
from audits.claims.hubrouter import cost, throughput_90x, throughput_optimised
from audits.claims.hubrouter._bench_tables import NO_GPU, missing_sentence
from audits.claims.hubrouter._targets import hubs_by_speed, outcomes
from audits.claims.judged import Report
from audits.evidence.experiment import Options
from audits.evidence.ledger import Evidence, Ledger, Record
from audits.evidence.runner import Failure, Gathered
from audits.experiments.bench import bench as experiment
from audits.experiments.bench._measured import benches
from audits.report.bench import bench_document, bench_json
from audits.report.files import write_reports

TARGETS = {1024: 0.5, 2048: 0.3, 4096: 0.2, 8192: 0.1}


def seen(*records: Record) -> Evidence:
    return Evidence(records)


def page(end: str, report: Report) -> str:
    return bench_document(report).files[f"bench.{end}"]


def verdicts(*records: Record) -> dict[str, str]:
    return {f"{o.what}: {o.target}": o.verdict for o in outcomes(benches(seen(*records)))}


def test_without_records_no_target_is_measured() -> None:
    assert set(verdicts().values()) == {"not measured"}


def test_targets_are_met_or_missed_by_what_was_measured_on_a_cpu() -> None:
    met = verdicts(*training(TARGETS), *decoding({256: 1e-3, 4096: 1e-3, 65536: 1.02e-3}))
    assert list(met.values())[2:7] == ["missed", *["met"] * 4]  # the exponent of these is above 1.05
    assert list(met.values())[7:] == ["not measured"] * 6
    worse = verdicts(
        *training({n: 2 * ratio for n, ratio in TARGETS.items()}), *decoding({n: n * 1e-6 for n in (256, 4096, 65536)})
    )
    assert list(worse.values())[2:7] == ["missed"] * 5


def test_the_layer_is_held_to_its_projections_and_its_floor_at_every_length_from_4096_on() -> None:
    def at(n: int, seconds: Sequence[float]) -> Record:
        rows = [row("projections/linear", [0.1, 0.2, 0.1]), row("hub/reference", seconds, flops=1e10, bytes=1.0)]
        return record(n, rows)

    good, bad = [0.15, 0.30, 0.14], [0.17, 0.34, 0.16]  # the floor is 0.1 s
    for records, verdict in (
        ([at(4096, good)], "met"),
        ([at(1024, bad), at(4096, good), at(8192, good)], "met"),
        ([at(4096, good), at(8192, bad)], "missed"),
        ([at(8192, good)], "not measured"),
    ):
        assert list(verdicts(*records).values())[:2] == [verdict] * 2
    found = outcomes(benches(seen(at(4096, good), at(8192, bad))))
    assert found[0].measured == "1.70, from 1.60 to 1.70 at n = 8192 (hub/reference)"
    assert found[1].measured == "1.70, from 1.60 to 3.40 at n = 8192 (hub/reference)"


def test_a_cpus_bfloat16_is_measured_beside_and_has_a_target_and_a_file_of_its_own(tmp_path: Path) -> None:
    half = [replace(r, config={**r.config, "dtype": "bfloat16"}) for r in training({8192: 0.11})]
    records = (*half, *training(TARGETS))
    assert list(verdicts(*records).values())[4:8] == ["met"] * 4
    assert [(b.file, b.lengths) for b in benches(seen(*records))] == [
        ("a-processor-2-cores", (1024, 2048, 4096, 8192)),
        ("a-processor-2-cores-bfloat16", (8192,)),
    ]
    specs = [spec for spec in experiment.runs(Options("full")) if spec.config["dtype"] == "bfloat16"]
    assert [(s.config["n"], s.config["pass"]) for s in specs] == [(n, "forward+backward") for n in (1024, 4096, 8192)]
    assert specs[0].config["layers"] == ["attention/sdpa", "projections/linear", "hub/reference"]


def test_an_exponent_up_to_the_target_meets_it() -> None:
    linear = verdicts(*training({n: 1000 / n for n in TARGETS}))
    assert linear["exponent of the time, n = 1024 to 8192: at most 1.05"] == "met"


def test_a_target_whose_length_was_not_run_is_not_measured() -> None:
    short = verdicts(*training({1024: 0.5, 2048: 0.3, 4096: 0.2}), *decoding({256: 1e-3, 4096: 1e-3, 8192: 1e-3}))
    assert short["forward + backward / causal SDPA, n = 4096: at most 0.26"] == "met"
    assert short["forward + backward / causal SDPA, n = 8192: at most 0.145"] == "not measured"
    assert short["exponent of the time, n = 1024 to 8192: at most 1.05"] == "not measured"
    assert short["cost of a decoded token up to n = 65536: flat"] == "not measured"


def test_another_shape_decides_no_target() -> None:
    assert set(verdicts(*(replace(r, config={**r.config, "d_model": 64}) for r in training(TARGETS))).values()) == {
        "not measured"
    }


def test_targets_of_a_gpu_are_judged_by_its_records() -> None:
    ratios = {1024: 1.1, 4096: 0.9, 8192: 0.6, 32768: 0.2}
    core = record(
        32768,
        [row("projections/linear", [0.01] * 3), row("hub/reference", [0.03] * 3, core_bytes=1.3e8)],
        passes="forward",
        device="cuda",
    )
    found = verdicts(*training(ratios, device="cuda"), core)
    assert list(found.values())[8:] == ["met"] * 5
    worse = verdicts(*training({**ratios, 4096: 1.0, 8192: 0.7, 32768: 0.3}, device="cuda", peak=1000))
    assert list(worse.values())[8:] == ["missed"] * 3 + ["not measured", "missed"]


def test_a_target_is_read_from_the_fastest_hub_implementation_that_was_run_at_what_it_needs() -> None:
    base, slow = row("attention/sdpa/flash", 0.05), row("hub/reference", 0.02)
    fast, absent = row("hub/compiled", 0.01), row("hub/triton", "impl='triton' needs CUDA")
    found = [record(1024, [base, slow, fast, absent]), record(4096, [base, slow, row("hub/compiled", "too long")])]
    (bench,) = benches(seen(*found))
    assert hubs_by_speed(bench) == ("hub/compiled", "hub/reference")
    text = [outcome.measured.rpartition(" ")[2] for outcome in outcomes([bench])[4:7]]
    assert text == ["(hub/compiled)", "(hub/reference)", "run"]  # the third was run by none


def test_the_json_holds_the_contracts_fields_and_the_reasons() -> None:
    rows = [row("attention/sdpa/flash", 0.01), row("hub/reference", 0.005), row("nsa/fla", "needs CUDA")]
    (found,) = benches(seen(record(256, rows)))
    document = json.loads(bench_json(found))
    assert document["schema"] == 1
    assert document["machine"]["cpu"] == "A processor"
    assert document["machine"]["threads"] == 1
    base, hub, absent = document["rows"]
    asked = {"layer", "impl", "n", "pass", "median_ms", "ratio_to_sdpa", "peak_bytes"}
    assert all(asked <= set(entry) for entry in document["rows"])
    assert (hub["layer"], hub["impl"], hub["n"], hub["pass"]) == ("hub", "reference", 256, "forward+backward")
    assert (hub["median_ms"], hub["ratio_to_sdpa"], hub["peak_bytes"]) == (5.0, pytest.approx(0.5), 1000)
    assert base["ratio_to_sdpa"] == 1.0
    assert (absent["median_ms"], absent["ratio_to_sdpa"], absent["peak_bytes"]) == (None, None, None)
    assert absent["not_run"] == "needs CUDA"
    assert len(document["rows"]) == 3


def test_what_is_missing_to_the_floor_is_told_with_the_projections_part() -> None:
    rows = [row("projections/linear", [0.03] * 3), row("hub/reference", [0.1] * 3)]
    (found,) = benches(seen(record(256, rows)))
    text = missing_sentence(found)
    assert "100 ms measured, floor 20.0 ms (set by operations), so 80.0 ms are missing" in text
    assert "projections alone take 30.0 ms" in text


@pytest.mark.parametrize("end", ["md", "html"])
def test_the_reports_tell_what_was_measured_and_that_no_gpu_was_at_hand(end: str) -> None:
    text = page(end, Report((), seen(*training(TARGETS))))
    assert "hub/reference" in text
    assert "A processor, one thread" in text
    assert NO_GPU in text
    assert "not measured" in text
    nothing = page(end, Report((), Evidence()))
    assert "The bench is not verified: no run yet" in nothing
    assert NO_GPU in nothing


@pytest.mark.parametrize("end", ["md", "html"])
def test_a_bench_by_code_that_has_changed_is_marked_stale(end: str) -> None:
    records = training(TARGETS)
    text = page(end, Report((), seen(*records), frozenset(r.run for r in records[:3])))
    assert "Stale: 3 of 4 runs" in text
    assert "Stale:" not in page(end, Report((), seen(*records)))


def test_the_reports_are_rebuilt_byte_for_byte_whatever_order_the_runs_came_in(tmp_path: Path) -> None:
    records = (*training(TARGETS), *decoding({256: 1e-3, 512: 1e-3, 1024: 1e-3}), *training(TARGETS, device="cuda"))
    for name, order in (("first", records), ("second", tuple(reversed(records)))):
        for entry in order:
            Ledger(tmp_path / name / "evidence").append(entry)
        write_reports(Report((), Ledger(tmp_path / name / "evidence").read()), tmp_path / name)
    for file in (
        "README.md",
        "bench.html",
        "bench/a-processor-2-cores-1.svg",
        "bench/a-processor-2-cores.json",
        "bench/nvidia-h200.json",
    ):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    before = (tmp_path / "first" / "bench" / "nvidia-h200.json").read_bytes()
    assert main(["report", "--reports", str(tmp_path / "first")]) in (0, 1)
    assert (tmp_path / "first" / "bench" / "nvidia-h200.json").read_bytes() == before


def layer_costs() -> Sequence[Record]:
    rows = [{"n": 256, "flops": 256}, {"n": 512, "flops": 512}, {"n": 1024, "flops": 1024}]
    result = {"rows": rows, "flops_exponent": 1.0, "ms_exponent": {"slope": 1.0, "low": 0.9, "high": 1.1}}
    hubs = {"hubs": [{"hubs": m, "flops": m} for m in (8, 16, 32)]}
    return [Record("layer-cost", {"layer": name}, 0, result | hubs, {}, 1.0) for name in ("hub", "attention")]


def test_the_claim_on_cost_reads_the_benchs_exponent() -> None:
    linear, cubic = training({n: 1000 / n for n in TARGETS}), training({n: n / 1000 for n in TARGETS})
    supported = cost.judge(seen(*layer_costs(), *linear))
    assert supported.verdict is ClaimVerdict.SUPPORTED
    assert {r.run for r in linear} <= set(supported.evidence)
    assert any("in the bench" in table.title for table in supported.tables)
    assert cost.judge(seen(*layer_costs(), *cubic)).verdict is ClaimVerdict.REFUTED
    assert len(cost.judge(seen(*layer_costs())).tables) == 1


@pytest.mark.parametrize("claim", [throughput_90x, throughput_optimised])
def test_the_claims_on_throughput_show_the_benchs_layer_ratios(claim: Any) -> None:
    rows = [row("attention/sdpa/flash", 0.01), row("hub/reference", 0.005), row("mamba/loop", 0.05)]
    judgement = claim.judge(seen(record(256, rows)))
    (table,) = [table for table in judgement.tables if "in the bench" in table.title]
    assert dict(table.rows)["hub/reference against mamba/loop"] == "10x"
    assert judgement.missing  # they decide nothing about whole models


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "perpetuum"], "no layer is called perpetuum; there are attention, projections, hub"),
        (["--device", "warp"], "warp"),
        (["--tier", "paper"], "add --device cuda"),
        (["--tier", "enormous"], "enormous"),
        (["--reports", "{tmp}/file"], "file"),
    ],
)
def test_bad_options_exit_2_with_one_clear_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    given = [word.replace("{tmp}", str(tmp_path)) for word in words]
    reports = [] if "--reports" in given else ["--reports", str(tmp_path / "reports")]
    try:
        code = main(["bench", *given, *reports])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert err.strip().count("\n") == 0
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("failed", [False, True])
def test_the_command_writes_the_reports_and_its_code_tells_whether_all_of_it_ran(
    failed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = experiment.runs(Options())[0]
    failures = (Failure(spec, "TypeError: defect"),) if failed else ()
    monkeypatch.setattr(
        "audits.cli.bench.gather", lambda *_given, **_options: Gathered(seen(*training(TARGETS)), failures)
    )
    assert main(["bench", "--reports", str(tmp_path)]) == (3 if failed else 0)
    assert json.loads((tmp_path / "bench" / "a-processor-2-cores.json").read_text())["rows"]
    text = capsys.readouterr().out
    assert NO_GPU in text
    assert "hub/reference" in text


@pytest.mark.parametrize(("device", "first"), [("cpu", "start-up"), ("cuda", "kernel-check")])
def test_a_gpus_kernels_are_checked_before_they_are_measured(
    device: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def gather(experiments: Sequence[Any], *_given: Any, **_options: Any) -> Gathered:
        asked.extend(experiment.name for experiment in experiments)
        return Gathered(Evidence(), ())

    monkeypatch.setattr("audits.cli.bench.gather", gather)
    monkeypatch.setattr("audits.cli.bench.check_device", lambda _name: None)
    assert main(["bench", "--device", device, "--reports", str(tmp_path)]) == 0
    assert asked == [first, "bench"]
