"""How Slurm's queue is read, with a queue that the test makes up: no Slurm is needed."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[cluster]'")

import submitit

from audits.evidence.executors import slurm
from audits.evidence.executors.execution import execute
from audits.evidence.executors.executor import (
    Began,
    Died,
    Event,
    ExecutorError,
    Failed,
    Finished,
    ProgressReported,
    Requeued,
    Task,
)
from audits.evidence.executors.slurm import ARRAY_LIMIT, LOOKS_WITHOUT_RESULT, SlurmExecutor
from audits.evidence.executors.slurm_run import SlurmRun
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec

BEGAN = Began("a", {"cpu": "fast"})
DONE = Finished("a", "{}", 1.5)


def seed(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    progress(1, 1)
    return {"seed": spec.seed}


def leaving(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    raise SystemExit(-1)


@dataclass
class Queue:
    """A cluster that does nothing by itself, in the place of submitit's executor."""

    states: dict[str, str] = field(default_factory=dict)
    away: bool = False
    arrays: list[tuple[int, bool]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    _folder: Path = Path()
    _exclusive: bool = False

    def __call__(self, folder: Path, max_num_timeout: int) -> Queue:
        self._folder = folder
        return self

    def update_parameters(self, **parameters: Any) -> None:
        self._exclusive = bool(parameters["exclusive"])

    def submit_array(self, runs: Sequence[SlurmRun]) -> list[Any]:
        self.arrays.append((len(runs), self._exclusive))
        names = [f"{len(self.arrays)}_{at}" for at in range(len(runs))]
        self.states |= dict.fromkeys(names, "PENDING")
        return [submitit.SlurmJob(self._folder, name) for name in names]

    def look(self) -> dict[str, str]:
        if self.away:
            raise ExecutorError("squeue: no answer")
        return dict(self.states)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(submitit, "SlurmExecutor", queue)
    monkeypatch.setattr(slurm, "COMMANDS", ())
    monkeypatch.setattr(slurm, "job_states", queue.look)
    monkeypatch.setattr(slurm, "command", lambda *words: queue.cancelled.append(" ".join(words)))
    return queue


def task(run: str, *, exclusive: bool = False, execute: Any = seed) -> Task:
    return Task(run, Experiment("demo", lambda _: (), execute, exclusive), RunSpec("demo", {}, 3), Options())


def submitted(folder: Path, *runs: str) -> SlurmExecutor:
    executor = SlurmExecutor(folder, {}, poll=0.0)
    executor.submit([task(run) for run in runs])
    return executor


def report(folder: Path, *events: Event) -> None:
    (folder / f"{events[0].run}.events").write_bytes(pickle.dumps(list(events)))


def answer(folder: Path, job: str, value: object) -> None:
    (folder / "jobs" / f"{job}_0_result.pkl").write_bytes(pickle.dumps(("success", value)))


def look(at: SlurmExecutor) -> list[Event]:
    return list(at.wait(0.0))


def test_a_run_is_followed_from_the_queue_to_its_result(queue: Queue, tmp_path: Path) -> None:
    executor = submitted(tmp_path, "a")
    assert look(executor) == []
    queue.states["1_0"] = "RUNNING"
    assert look(executor) == []
    report(tmp_path, BEGAN)
    assert look(executor) == [BEGAN]
    report(tmp_path, BEGAN, ProgressReported("a", 2, 9, "loss"))
    assert look(executor) == [ProgressReported("a", 2, 9, "loss")]
    assert look(executor) == []
    queue.states["1_0"] = "COMPLETING"
    assert look(executor) == []
    answer(tmp_path, "1_0", [BEGAN, DONE])
    assert look(executor) == [DONE]
    executor.forget("a")
    assert executor.left_behind == ""
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith(("a.", "1_0"))] == []
    assert queue.cancelled == []


def test_a_result_of_a_job_that_was_never_seen_running_is_taken_but_not_a_damaged_one(
    queue: Queue, tmp_path: Path
) -> None:
    executor = submitted(tmp_path, "a", "b", "c")
    answer(tmp_path, "1_0", [BEGAN, DONE])
    (tmp_path / "jobs" / "1_1_0_result.pkl").write_bytes(b"rubbish")
    answer(tmp_path, "1_2", {"not": "events"})
    *taken, damaged, strange = look(executor)
    assert taken == [BEGAN, DONE]
    for failed, job in ((damaged, "1_1"), (strange, "1_2")):
        assert isinstance(failed, Failed)
        assert failed.error.startswith(f"job {job}: its result cannot be read: ")


def test_a_job_that_is_over_without_a_result_died_but_only_after_some_looks(queue: Queue, tmp_path: Path) -> None:
    executor = submitted(tmp_path, "a", "b")
    queue.states |= {"1_0": "FAILED"}
    del queue.states["1_1"]
    for _ in range(LOOKS_WITHOUT_RESULT - 1):
        assert look(executor) == []
    log = f"its log is {tmp_path}/jobs"
    assert look(executor) == [
        Died("a", "job 1_0", "FAILED", f"{log}/1_0_0_log.err"),
        Died("b", "job 1_1", "unknown to Slurm", f"{log}/1_1_0_log.err"),
    ]
    executor.submit([task("a"), task("b")])
    assert queue.arrays == [(2, False), (2, False)]
    queue.states["2_0"] = "RUNNING"
    report(tmp_path, BEGAN)
    assert look(executor) == [BEGAN]


def test_a_requeue_is_noticed_and_what_was_reported_before_it_does_not_count(queue: Queue, tmp_path: Path) -> None:
    executor, reported = submitted(tmp_path, "a"), [BEGAN, ProgressReported("a", 4, 9, "")]
    queue.states["1_0"] = "RUNNING"
    report(tmp_path, *reported)
    assert look(executor) == reported
    queue.states["1_0"] = "PENDING"
    assert look(executor) == [Requeued("a", "job 1_0 was requeued")]
    assert look(executor) == []
    queue.states["1_0"] = "RUNNING"
    assert look(executor) == []
    report(tmp_path, *reported)
    assert look(executor) == reported


def test_damaged_reports_are_passed_over(queue: Queue, tmp_path: Path) -> None:
    executor = submitted(tmp_path, "a")
    queue.states["1_0"] = "RUNNING"
    report(tmp_path, BEGAN)
    assert look(executor) == [BEGAN]
    for data in (b"", b"{", pickle.dumps([BEGAN])[:-9]):
        (tmp_path / "a.events").write_bytes(data)
        assert look(executor) == []


def test_a_controller_may_be_away_for_a_while_but_not_forever(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = submitted(tmp_path, "a", "b")
    queue.away = True
    assert [look(executor) for _ in range(LOOKS_WITHOUT_RESULT + 1)] == [[]] * (LOOKS_WITHOUT_RESULT + 1)
    answer(tmp_path, "1_0", [BEGAN, DONE])
    assert look(executor) == [BEGAN, DONE]
    executor.forget("a")
    monkeypatch.setattr(slurm, "OUTAGE_SECONDS", -1.0)
    with pytest.raises(ExecutorError, match=r"has not answered .* squeue: no answer"):
        look(executor)
    assert executor.left_behind.startswith("runs that stay with Slurm: 1; ")


def test_jobs_of_an_earlier_process_are_followed_and_finished_ones_collected(queue: Queue, tmp_path: Path) -> None:
    submitted(tmp_path, "c", "b", "a")
    queue.states = {"1_0": "RUNNING", "1_1": "FAILED", "1_2": "FAILED"}
    answer(tmp_path, "1_2", [BEGAN, DONE])
    executor = submitted(tmp_path, "a", "b", "c")
    executor.submit([task("d", exclusive=True)])
    assert queue.arrays == [(3, False), (1, False), (1, True)]
    assert look(executor) == [BEGAN, DONE]
    assert executor.left_behind.startswith("runs that stay with Slurm: 4; ")


def test_a_run_to_be_done_afresh_loses_the_job_and_the_result_it_had(queue: Queue, tmp_path: Path) -> None:
    submitted(tmp_path, "a", "b")
    answer(tmp_path, "1_1", [BEGAN, DONE])
    executor = SlurmExecutor(tmp_path, {}, poll=0.0)
    for run in ("a", "b", "never heard of"):
        executor.forget(run)
    assert queue.cancelled == ["scancel 1_0"]
    executor.submit([task("a"), task("b")])
    assert queue.arrays == [(2, False), (2, False)]
    assert look(executor) == []


def test_one_process_at_a_time_uses_a_folder_and_nobody_else_may_read_it(queue: Queue, tmp_path: Path) -> None:
    with submitted(tmp_path), pytest.raises(ExecutorError, match="another command gathers through this folder"):
        submitted(tmp_path).__enter__()
    with submitted(tmp_path):
        assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_the_log_of_a_failed_run_is_kept(queue: Queue, tmp_path: Path) -> None:
    executor = submitted(tmp_path, "a", "b")
    logs = [tmp_path / "jobs" / f"1_{at}_0_log.err" for at in (0, 1)]
    for log in logs:
        log.write_text("why")
    executor.forget("a", keep_log=True)
    executor.forget("b")
    assert [log.exists() for log in logs] == [True, False]


def test_long_lists_are_cut_into_arrays_that_slurm_takes(queue: Queue, tmp_path: Path) -> None:
    submitted(tmp_path, *(str(at) for at in range(2 * ARRAY_LIMIT + 1)))
    assert [size for size, _ in queue.arrays] == [ARRAY_LIMIT, ARRAY_LIMIT, 1]


def test_code_that_changed_while_the_job_waited_gives_no_result() -> None:
    end = execute("a", task("a").packed("0" * 16), lambda event: None, 0.0)
    assert end == Failed("a", "its code has changed since it was submitted; run the same command again")


def test_an_exit_in_a_job_is_left_to_submitit_which_exits_after_a_requeue(tmp_path: Path) -> None:
    run = SlurmRun("a", task("a", execute=leaving).packed(), tmp_path / "a.events")
    with pytest.raises(SystemExit):
        run()
    assert isinstance(run.checkpoint().function, SlurmRun)


def test_reports_that_cannot_be_written_cost_no_run(tmp_path: Path) -> None:
    began, progress, end = SlurmRun("a", task("a").packed(), tmp_path / "missing" / "a.events")()
    assert isinstance(began, Began)
    assert progress == ProgressReported("a", 1, 1, "")
    assert isinstance(end, Finished)
    assert end.result == '{"seed": 3}'


def test_the_batch_file_asks_for_what_was_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submitit.slurm.slurm.SlurmExecutor.affinity", lambda _: 1)

    def batch_file(options: dict[str, str], *, exclusive: bool) -> str:
        executor = submitit.SlurmExecutor(tmp_path)
        executor.update_parameters(**slurm.job_parameters(options, 3, exclusive=exclusive))
        return str(executor._make_submission_file_text("python", "x"))

    text = batch_file({"time": "2", "partition": "gpu", "gpus": "1", "exclusive": ""}, exclusive=False)
    for line in ("time=2", "partition=gpu", "gpus=1", "exclusive", "requeue", "job-name=hubrouter-audit"):
        assert f"#SBATCH --{line}\n" in text
    assert "--signal=USR2@30" in text
    assert "#SBATCH --exclusive\n" in batch_file({}, exclusive=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", "soon"),
        ("time", "0"),
        ("time", "1:30:00"),
        ("array", "1-3"),
        ("Partition", "x"),
        ("", ""),
        ("a", "b\nc"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, value: str) -> None:
    with pytest.raises(ExecutorError) as refused:
        slurm.job_parameters({name: value}, 3, exclusive=False)
    assert "\n" not in str(refused.value)


def test_a_command_that_fails_gives_its_reason_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "squeue"
    fake.write_text("#!/bin/sh\necho 'no\nanswer' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ExecutorError, match="squeue: no answer"):
        slurm.job_states()
    fake.write_text("#!/bin/sh\necho '3_0|RUNNING'\necho '4|PENDING'\n")
    assert slurm.job_states() == {"3_0": "RUNNING", "4": "PENDING"}
