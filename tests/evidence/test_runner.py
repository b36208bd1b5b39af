"""Gathering evidence: what is missing is executed, whatever happens to runs, workers or the user's patience."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from audits.evidence.code_hash import code_of
from audits.evidence.display import Display
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Evidence, Ledger, LedgerError, Record
from audits.evidence.machine import cpu_model, environment
from audits.evidence.runner import Gathered, gather

HERE = Path(__file__).resolve()


def square(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    for step in range(1, 4):
        progress(step, 3, "[loss] 1.0")
    return {
        "square": spec.config["x"] ** 2,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "drawn": torch.rand(()).item(),
    }


def troubled(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    match spec.config["trouble"]:
        case "raise":
            raise RuntimeError("two\nlines")
        case "exit":
            sys.exit(3)
        case "nan":
            return {"loss": float("nan")}
        case "type":
            return [1]  # type: ignore[return-value]
        case "die":
            with Path(spec.config["log"]).open("a") as log:
                log.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        case "vanish":
            os._exit(0)
        case "die once":
            marker = Path(spec.config["log"])
            if not marker.exists():
                marker.write_text("x")
                os.kill(os.getpid(), signal.SIGKILL)
    return {"ok": True}


def timed(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    start = time.time()
    time.sleep(0.3)
    return {"start": start, "end": time.time()}


def endless(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    if spec.seed:
        Path(spec.config["log"], str(os.getpid())).write_text("")
        while True:
            progress(1, 2)
            time.sleep(0.05)
    return {}


def experiment(execute: Any, *specs: RunSpec, name: str = "demo", exclusive: bool = False) -> Experiment:
    return Experiment(name, lambda options: specs, execute, exclusive)


def specs(*configs: dict[str, Any], name: str = "demo") -> tuple[RunSpec, ...]:
    return tuple(RunSpec(name, config, seed, f"run {seed}") for seed, config in enumerate(configs))


def gathered(ledger: Ledger, *experiments: Experiment, **settings: Any) -> tuple[Gathered, str]:
    text = io.StringIO()
    outcome = gather(experiments, Options(), ledger, console=Console(file=text, width=60), **settings)
    return outcome, text.getvalue()


def test_missing_runs_are_executed_once_and_recorded(tmp_path: Path) -> None:
    ledger, three = Ledger(tmp_path), specs({"x": 1}, {"x": 2}, {"x": 3})
    outcome, text = gathered(ledger, experiment(square, *three, three[0]), workers=1)
    assert outcome.failures == ()
    assert {r.config["x"]: r.result["square"] for r in outcome.evidence.of("demo")} == {1: 1, 2: 4, 3: 9}
    assert {(r.result["device"], r.result["threads"]) for r in outcome.evidence.records} == {("cpu", 1)}
    assert all(r.environment == environment() for r in outcome.evidence.records)
    for record in outcome.evidence.records:
        assert record.result["drawn"] == torch.rand((), generator=torch.Generator().manual_seed(record.seed)).item()
        assert 0 < record.seconds < 60
    assert len(text.splitlines()) == 4
    again, text = gathered(ledger, experiment(square, *three))
    assert text == "0 runs to execute, 3 already in the ledger\n"
    assert again.evidence.of("demo") == outcome.evidence.of("demo")


def test_fresh_evidence_replaces_what_is_there(tmp_path: Path) -> None:
    ledger, (spec,) = Ledger(tmp_path), specs({"x": 5})
    code = code_of(experiment(square, spec))
    ledger.append(Record("demo", {"x": 5}, 0, {"square": "stale"}, {}, 1.0, code))
    kept, _ = gathered(ledger, experiment(square, spec))
    renewed, _ = gathered(ledger, experiment(square, spec), fresh=True)
    assert [r.result["square"] for r in (*kept.evidence.records, *renewed.evidence.records)] == ["stale", 25]
    assert len((tmp_path / "demo.jsonl").read_text().splitlines()) == 2


def from_best(options: Options, fresh: Evidence) -> tuple[RunSpec, ...]:
    """Once both of the first runs are there: a run with ten times the x of the larger square."""
    squares = {r.config["x"]: r.result.get("square", 0) for r in fresh.of("demo") if r.config["x"] in (1, -2)}
    return specs({"x": 10 * max(squares, key=squares.__getitem__)}) if len(squares) == 2 else ()


def test_runs_that_hang_on_others_follow_them(tmp_path: Path) -> None:
    ledger, first = Ledger(tmp_path), specs({"x": 1}, {"x": -2})
    staged = replace(experiment(square, *first), follow_up=from_best)
    outcome, text = gathered(ledger, staged)
    assert {r.config["x"] for r in outcome.evidence.of("demo")} == {1, -2, -20}, text
    assert "1 runs to execute, 2 already in the ledger" in text
    assert gathered(ledger, staged)[1] == "0 runs to execute, 3 already in the ledger\n"
    renewed, text = gathered(ledger, staged, fresh=True)
    assert len(renewed.evidence.of("demo")) == 3
    assert text.count("to execute") == 2


def test_what_follows_is_not_planned_where_an_earlier_run_failed(tmp_path: Path) -> None:
    bad = replace(
        experiment(troubled, *specs({"trouble": "raise", "x": 1}, {"trouble": "", "x": -2})), follow_up=from_best
    )
    outcome, text = gathered(Ledger(tmp_path), bad)
    assert len(outcome.failures) == 1
    assert text.count("to execute") == 1


def test_a_run_that_fails_is_reported_and_the_others_go_on(tmp_path: Path) -> None:
    bad = specs(*({"trouble": name} for name in ("raise", "exit", "nan", "type", "none")))
    unsendable = experiment(lambda *_: {}, *specs({}, name="local"), name="local")
    outcome, text = gathered(Ledger(tmp_path), unsendable, experiment(troubled, *bad), workers=1)
    lines = [failure.line for failure in outcome.failures]
    assert [r.config["trouble"] for r in outcome.evidence.records] == ["none"]
    assert lines[0].startswith("local {} seed 0: cannot be sent to a worker, execute must be a function of a module")
    assert lines[1].startswith('demo {"trouble": "raise"} seed 0: RuntimeError: two lines (test_runner.py:')
    assert "SystemExit: 3" in lines[2]
    assert "not JSON compliant" in lines[3]
    assert "type list; it must be a dict" in lines[4]
    assert all(line in text for line in lines)


def test_a_killed_workers_run_is_begun_once_more_and_then_given_up(tmp_path: Path) -> None:
    log, marker = tmp_path / "log", tmp_path / "marker"
    runs = specs(
        {"trouble": "die", "log": str(log)},
        {"trouble": "vanish", "log": ""},
        {"trouble": "die once", "log": str(marker)},
        {"trouble": "none", "log": ""},
    )
    outcome, text = gathered(Ledger(tmp_path / "evidence"), experiment(troubled, *runs), workers=2)
    killed, vanished = sorted(outcome.failures, key=lambda failure: failure.spec.seed)
    assert (killed.spec, vanished.spec) == runs[:2]
    assert "ended 2 times (signal SIGKILL)" in killed.error
    assert "ended 2 times (exit code 0)" in vanished.error
    assert log.read_text() == "xx"
    assert {r.config["trouble"] for r in outcome.evidence.records} == {"die once", "none"}
    assert text.count("beginning it once more") == 3


def test_exclusive_runs_overlap_with_no_other(tmp_path: Path) -> None:
    exclusive = experiment(timed, *specs({}, {}, name="exclusive"), name="exclusive", exclusive=True)
    together = experiment(timed, *specs({}, {}), name="demo")
    outcome, _ = gathered(Ledger(tmp_path), exclusive, together, workers=2)
    spans = [(r.result["start"], r.result["end"]) for r in outcome.evidence.records]
    mine = [(r.result["start"], r.result["end"]) for r in outcome.evidence.of("exclusive")]
    assert len(spans) == 4
    for start, end in mine:
        assert sum(a < end and start < b for a, b in spans) == 1  # itself


def test_on_a_terminal_bars_are_drawn_and_finished_runs_take_no_line() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with Display(console, {"a": 5.0, "b": 1.0}) as display:
        display.begin("a", "first [run]")
        display.update("a", 3, 7, "[loss] 2.5")
        display.begin("b", "second")
        display._bars.refresh()  # now, not at the next quarter of a second
        display.end("a", "finished line")
        display.end("b", "failed line", failed=True)
    shown = text.getvalue()
    assert all(part in shown for part in ("first [run]", "[loss] 2.5", "all runs", "2 of 2 done", "[2/2] failed line"))
    assert "finished line" not in shown


def test_the_time_left_is_estimated_by_what_runs_took_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("audits.evidence.display.time.monotonic", lambda: now[0])
    text = io.StringIO()
    with Display(Console(file=text, width=100), {"short": 10.0, "long": 90.0}) as display:
        now[0] = 20.0  # twice what was expected
        display.end("short", "the short one")
    assert "about 0:03:00 left" in text.getvalue()


def test_a_run_is_expected_to_take_what_it_took_or_what_others_of_its_experiment_do(tmp_path: Path) -> None:
    ledger, lines = Ledger(tmp_path / "own"), io.StringIO()
    earlier = Evidence((Record("demo", {"x": 1}, 0, {}, {}, 30.0), Record("demo", {"x": 2}, 1, {}, {}, 10.0)))
    found: list[dict[str, float]] = []

    class Noted(Display):
        def __init__(self, console: Console, expected: Mapping[str, float]) -> None:
            found.append(dict(expected))
            super().__init__(console, expected)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("audits.evidence.runner.Display", Noted)
        runs = specs({"x": 1}, {"x": 2}, {"x": 3})
        gather([experiment(square, *runs)], Options(), ledger, console=Console(file=lines), earlier=earlier)
    assert list(found[0].values()) == [30.0, 10.0, 20.0]


def test_an_unusable_request_is_refused_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        gathered(Ledger(tmp_path), workers=0)
    with pytest.raises(ValueError, match="lists a run of demo; use other"):
        gathered(Ledger(tmp_path), experiment(square, *specs({}), name="other"))
    (tmp_path / "demo.jsonl").write_text("rubbish\n")
    with pytest.raises(LedgerError, match="line 1"):
        gathered(Ledger(tmp_path), experiment(square, *specs({"x": 1})))


def interrupted_main(folder: str, workers: str) -> None:
    """What the interrupt test starts as a process of its own."""
    runs = tuple(RunSpec("demo", {"log": folder}, seed) for seed in range(3))
    try:
        gather([experiment(endless, *runs)], Options(), Ledger(Path(folder, "evidence")), workers=int(workers))
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
        sys.exit(130)


def started_workers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.iterdir() if path.name.isdigit()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def group(folder: Path, workers: int) -> Iterator["subprocess.Popen[str]"]:
    """A gathering in a process group of its own, of which nothing is left afterwards, even where the test fails."""
    code = "import sys, test_runner; test_runner.interrupted_main(*sys.argv[1:])"
    paths = os.pathsep.join((str(HERE.parent), str(HERE.parents[2])))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(workers)],
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for_workers(folder: Path, count: int, process: "subprocess.Popen[str]") -> list[int]:
    while len(started_workers(folder)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return started_workers(folder)


def test_ctrl_c_ends_all_workers_promptly_and_keeps_finished_runs(tmp_path: Path) -> None:
    with group(tmp_path, 2) as process:
        workers = wait_for_workers(tmp_path, 2, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        out, err = process.communicate(timeout=30)  # runs under way never end by themselves
        assert process.returncode == 130
        assert out == "interrupted\n"
        assert "Traceback" not in err
        assert not any(alive(worker) for worker in workers)
        assert [r.seed for r in Ledger(tmp_path / "evidence").read().records] == [0]


def test_workers_heed_no_interrupt_of_their_own_neither_starting_nor_running(tmp_path: Path) -> None:
    with group(tmp_path, 1) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("3 runs to execute")
        time.sleep(0.2)  # the worker is importing
        children = [
            int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        ]
        for child in children:
            os.kill(child, signal.SIGINT)
        (worker,) = wait_for_workers(tmp_path, 1, process)
        assert worker in children
        os.kill(worker, signal.SIGINT)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, "interrupted\n")
        assert err.startswith("[1/3] demo seed 0: ")
        assert len(err.splitlines()) == 1


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with group(tmp_path, 1) as process:
        workers = wait_for_workers(tmp_path, 1, process)
        process.kill()
        process.communicate(timeout=20)
        deadline = time.monotonic() + 5
        while any(alive(worker) for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(alive(worker) for worker in workers)


def test_the_environment_names_versions_and_no_machine_or_user() -> None:
    described = environment()
    assert {"project", "python", "torch", "platform", "cpu", "cores", "device"} <= set(described)
    assert described["torch"] == torch.__version__
    text = " ".join(described.values())
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_the_processor_is_named_even_where_the_system_does_not_tell(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    assert cpu_model(info)
    info.write_text("processor\t: 0\nmodel name\t: Fast 9000\n")
    assert cpu_model(info) == "Fast 9000"


def test_a_run_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    limited = Experiment(
        "demo",
        lambda options: specs({"log": str(tmp_path)}, {"log": str(tmp_path)}),
        endless,
        seconds=5.0,
        on_failure=lambda error: {"lost": error},
    )
    console = Console(file=io.StringIO())
    work = gather([limited], Options(), Ledger(tmp_path / "evidence"), workers=2, console=console)
    assert [failure.spec.seed for failure in work.failures] == [1]
    results = {record.seed: record.result for record in work.evidence.records}
    assert results == {0: {}, 1: {"lost": "ended after 5 s, the time limit of a run"}}


def test_a_run_whose_failure_was_recorded_is_not_tried_again(tmp_path: Path) -> None:
    recorded = Experiment(
        "demo", lambda options: specs({"trouble": "raise"}), troubled, on_failure=lambda error: {"lost": error[:12]}
    )
    ledger, console = Ledger(tmp_path), Console(file=io.StringIO())
    assert len(gather([recorded], Options(), ledger, workers=1, console=console).failures) == 1
    again = gather([recorded], Options(), ledger, workers=1, console=console)
    assert again.failures == ()
    assert again.evidence.records[0].result == {"lost": "RuntimeError"}
