"""What a look at Slurm's queue is taken for, with a queue that the test makes up: no Slurm is needed."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[cluster]'")

from audits.evidence.executors import (
    Began,
    Died,
    Event,
    ExecutorError,
    Failed,
    Finished,
    Job,
    Order,
    Placed,
    Requeued,
    Told,
    slurm,
    slurm_commands,
    slurm_submit,
)
from audits.evidence.executors.carrying import NoResult, Result, carry_out, packed
from audits.evidence.executors.slurm import SlurmExecutor
from audits.evidence.executors.slurm_job import Answer, SlurmRun
from audits.evidence.executors.slurm_submit import ARRAY_LIMIT, Cluster
from audits.evidence.executors.slurm_watch import LOOKS_WITHOUT_ANSWER
from audits.evidence.executors.spool import Report, Spool
from audits.evidence.experiment import Options, Progress, RunSpec

HERE = {"cpu": "fast"}


def execute(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    return {"seed": spec.seed}


@dataclass
class Queue:
    """A cluster that does nothing by itself."""

    states: dict[str, str] = field(default_factory=dict)
    away: bool = False
    refuses_requeue: bool = False
    arrays: list[tuple[int, bool]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def look(self) -> dict[str, str]:
        if self.away:
            raise ExecutorError("squeue: no answer")
        return dict(self.states)

    def submit(
        self, spool: Spool, runs: Sequence[SlurmRun], cluster: Cluster, *, alone: bool = False, at_a_time: int | None
    ) -> None:
        if runs:
            self.arrays.append((len(runs), alone))
        for at, run in enumerate(runs):
            name = f"{len(self.arrays)}_{at}"
            self.states[name] = "PENDING"
            spool.give_to(run.run, name)

    def requeue(self, job: str) -> None:
        if self.refuses_requeue:
            raise ExecutorError("scontrol: job is gone")
        self.states[job] = "PENDING"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    for name, value in {
        "check_commands": lambda: None,
        "states": queue.look,
        "submit": queue.submit,
        "requeue": queue.requeue,
        "cancel": queue.cancelled.append,
    }.items():
        monkeypatch.setattr(slurm, name, value)
    return queue


def order(run: str, *, alone: bool = False) -> Order:
    return Order(run, Job(execute, RunSpec("demo", {}, 3), Options()), alone)


def executor(folder: Path) -> SlurmExecutor:
    return SlurmExecutor(folder, {}, poll=0.0)


def answer(folder: Path, job: str, value: object) -> None:
    (folder / "jobs" / f"{job}_0_result.pkl").write_bytes(pickle.dumps(("success", value)))


def look(at: SlurmExecutor) -> list[Event]:
    return list(at.wait(0.0))


def test_a_run_is_followed_from_the_queue_to_its_result(queue: Queue, tmp_path: Path) -> None:
    work, spool = executor(tmp_path), Spool(tmp_path)
    work.submit([order("a")])
    assert look(work) == []
    queue.states["1_0"] = "RUNNING"
    assert look(work) == [Placed("a")]
    spool.tell("a", Report("7:0", HERE))
    assert look(work) == [Began("a", HERE)]
    spool.tell("a", Report("7:0", HERE, 2, 9, "loss"))
    assert look(work) == [Told("a", 2, 9, "loss")]
    assert look(work) == []
    queue.states["1_0"] = "COMPLETING"
    assert look(work) == []
    answer(tmp_path, "1_0", Answer(Result("{}", 1.5), HERE))
    assert look(work) == [Finished("a", "{}", 1.5)]
    work.forget("a")
    assert work.left_behind == ""
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith(("a.", "1_0"))] == []
    assert queue.cancelled == []


def test_an_answer_that_was_never_seen_running_tells_its_machine(queue: Queue, tmp_path: Path) -> None:
    work = executor(tmp_path)
    work.submit([order("a"), order("b"), order("c")])
    answer(tmp_path, "1_0", Answer(NoResult("ValueError: no"), HERE))
    (tmp_path / "jobs" / "1_1_0_result.pkl").write_bytes(b"rubbish")
    answer(tmp_path, "1_2", {"not": "an answer"})
    began, failed, damaged, strange = look(work)
    assert (began, failed) == (Began("a", HERE), Failed("a", "ValueError: no"))
    assert isinstance(damaged, Failed)
    assert damaged.error.startswith("job 1_1: its answer cannot be read: ")
    assert strange == Failed("c", "job 1_2: its answer cannot be read: it is of type dict")


def test_a_job_that_is_over_without_an_answer_died_but_only_after_some_looks(queue: Queue, tmp_path: Path) -> None:
    work = executor(tmp_path)
    work.submit([order("a"), order("b")])
    queue.states |= {"1_0": "FAILED"}
    del queue.states["1_1"]
    for _ in range(LOOKS_WITHOUT_ANSWER - 1):
        assert look(work) == []
    one, other = look(work)
    assert isinstance(one, Died)
    assert (one.run, one.what, one.how) == ("a", "job 1_0", "FAILED")
    assert one.advice == f"its log is {tmp_path}/jobs/1_0_0_log.err"
    assert isinstance(other, Died)
    assert other.how == "unknown to Slurm"
    work.resubmit("a")
    assert queue.states["1_0"] == "PENDING"
    queue.refuses_requeue = True
    work.resubmit("b")
    assert queue.arrays == [(2, False), (1, False)]
    queue.states["2_0"] = "RUNNING"
    assert look(work) == [Placed("b")]


@pytest.mark.parametrize("seen", [True, False])
def test_a_requeue_is_noticed_whether_or_not_it_was_seen_in_the_queue(queue: Queue, tmp_path: Path, seen: bool) -> None:
    work, spool = executor(tmp_path), Spool(tmp_path)
    work.submit([order("a")])
    queue.states["1_0"] = "RUNNING"
    first = Report("7:0", HERE, 4, 9)
    spool.tell("a", first)
    assert look(work) == [Placed("a"), Began("a", HERE), Told("a", 4, 9, "")]
    if seen:
        queue.states["1_0"] = "PENDING"
        assert look(work) == [Requeued("a", "job 1_0 was requeued")]
        queue.states["1_0"] = "RUNNING"
        assert look(work) == [Placed("a")]  # the report that lies there is the old one
        spool.tell("a", replace(first, attempt="7:1"))
        assert look(work) == [Began("a", HERE), Told("a", 4, 9, "")]
        return
    spool.tell("a", replace(first, attempt="7:1"))
    again = [Requeued("a", "job 1_0 was requeued and restarted"), Placed("a"), Began("a", HERE), Told("a", 4, 9, "")]
    assert look(work) == again


def test_damaged_reports_are_passed_over(queue: Queue, tmp_path: Path) -> None:
    work = executor(tmp_path)
    work.submit([order("a")])
    queue.states["1_0"] = "RUNNING"
    for text in ("", "{", "[]", '{"attempt": 3}', '{"colour": "red"}', '{"attempt": "1:0", "environment": 3}'):
        (tmp_path / "a.report.json").write_text(text)
        assert look(work) in ([], [Placed("a")])


def test_a_controller_may_be_away_for_a_while_but_not_forever(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = executor(tmp_path)
    work.submit([order("a"), order("b")])
    queue.away = True
    assert [look(work) for _ in range(LOOKS_WITHOUT_ANSWER + 1)] == [[]] * (LOOKS_WITHOUT_ANSWER + 1)
    answer(tmp_path, "1_0", Answer(Result("{}", 1.0), HERE))
    assert look(work) == [Began("a", HERE), Finished("a", "{}", 1.0)]
    work.forget("a")
    monkeypatch.setattr(slurm, "OUTAGE_SECONDS", -1.0)
    with pytest.raises(ExecutorError, match=r"has not answered .* squeue: no answer"):
        look(work)
    assert work.left_behind.startswith("runs that stay with Slurm: 1; ")


def test_jobs_of_an_earlier_process_are_taken_over_and_finished_ones_collected(queue: Queue, tmp_path: Path) -> None:
    executor(tmp_path).submit([order("a"), order("b"), order("c")])
    queue.states = {"1_0": "RUNNING", "1_1": "FAILED", "1_2": "FAILED"}
    answer(tmp_path, "1_2", Answer(Result("{}", 1.0), HERE))
    work = executor(tmp_path)
    work.submit([order("a"), order("b"), order("c"), order("d", alone=True)])
    assert queue.arrays == [(3, False), (1, False), (1, True)]
    assert look(work) == [Placed("a"), Began("c", HERE), Finished("c", "{}", 1.0)]


def test_a_run_to_be_done_afresh_loses_the_job_and_the_answer_it_had(queue: Queue, tmp_path: Path) -> None:
    executor(tmp_path).submit([order("a"), order("b")])
    answer(tmp_path, "1_1", Answer(Result("{}", 1.0), HERE))
    work = executor(tmp_path)
    for run in ("a", "b", "never heard of"):
        work.forget(run)
    assert queue.cancelled == ["1_0"]
    work.submit([order("a"), order("b")])
    assert queue.arrays == [(2, False), (2, False)]
    assert look(work) == []


def test_one_process_at_a_time_uses_a_folder(queue: Queue, tmp_path: Path) -> None:
    with executor(tmp_path), pytest.raises(ExecutorError, match="another command gathers through this folder"):
        executor(tmp_path).__enter__()
    with executor(tmp_path):
        pass


def test_what_a_killed_attempt_left_half_written_does_not_stop_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "7_0_result.pkl.save_tmp"
    half.write_text("half")
    for name, value in {
        "SUBMITIT_FOLDER": str(tmp_path),
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "7",
    }.items():
        monkeypatch.setenv(name, value)
    SlurmRun(packed(Job(telling, RunSpec("demo"), Options())), "a", "cpu", tmp_path)()
    assert not half.exists()


def test_the_log_of_a_failed_run_is_kept(queue: Queue, tmp_path: Path) -> None:
    work = executor(tmp_path)
    work.submit([order("a"), order("b")])
    logs = [tmp_path / "jobs" / f"1_{at}_0_log.err" for at in (0, 1)]
    for log in logs:
        log.write_text("why")
    work.forget("a", keep_log=True)
    work.forget("b")
    assert [log.exists() for log in logs] == [True, False]


def test_code_that_changed_while_the_job_waited_gives_no_result() -> None:
    job = Job(execute, RunSpec("demo", {}, 3), Options(), code="0" * 16)
    outcome = carry_out(packed(job), lambda done, total, note="": None)
    assert outcome == NoResult("its code has changed since it was submitted; run the same command again")


def test_an_exit_is_a_failure_of_the_run_unless_submitit_asked_for_a_checkpoint(tmp_path: Path) -> None:
    run = SlurmRun(packed(Job(leaving, RunSpec("demo"), Options())), "a", "cpu", tmp_path)
    answer = run()
    assert isinstance(answer.outcome, NoResult)
    assert answer.outcome.error.startswith("SystemExit")
    again = run.checkpoint().function
    with pytest.raises(SystemExit):
        run()
    assert isinstance(again, SlurmRun)
    assert isinstance(again().outcome, NoResult)


def leaving(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    raise SystemExit(-1)


def test_reports_that_cannot_be_written_cost_no_run(tmp_path: Path) -> None:
    run = SlurmRun(packed(Job(telling, RunSpec("demo"), Options())), "a", "cpu", tmp_path / "missing")
    outcome = run().outcome
    assert isinstance(outcome, Result)
    assert outcome.text == "{}"


def telling(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    progress(1, 1)
    return {}


def test_long_lists_are_cut_into_arrays_that_slurm_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(slurm_submit, "_submit_array", lambda spool, runs, *rest: sizes.append(len(runs)))
    run = SlurmRun(b"", "a", "cpu", tmp_path)
    slurm_submit.submit(Spool(tmp_path), [run] * (2 * ARRAY_LIMIT + 1), Cluster(5, {}))
    assert sizes == [ARRAY_LIMIT, ARRAY_LIMIT, 1]


def test_the_batch_file_asks_for_what_was_wished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("submitit.slurm.slurm.SlurmExecutor.affinity", lambda _: 1)
    cluster = slurm_submit.read_options({"time": "2", "partition": "gpu", "gpus": "1", "exclusive": ""})
    wished = slurm_submit._executor(Spool(tmp_path), cluster, alone=False, at_a_time=3)
    text = wished._make_submission_file_text("python", "x")
    for line in ("time=2", "partition=gpu", "gpus=1", "exclusive", "requeue", "job-name=hubrouter-audit"):
        assert f"#SBATCH --{line}\n" in text
    assert "--signal=USR2@30" in text
    whole = slurm_submit._executor(Spool(tmp_path), slurm_submit.read_options({}), alone=True, at_a_time=1)
    assert "#SBATCH --exclusive\n" in whole._make_submission_file_text("python", "x")


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
        slurm_submit.read_options({name: value})
    assert "\n" not in str(refused.value)


def test_a_command_that_fails_gives_its_reason_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "squeue"
    fake.write_text("#!/bin/sh\necho 'no\nanswer' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ExecutorError, match="squeue: no answer"):
        slurm_commands.states()
    fake.write_text("#!/bin/sh\necho '3_0|RUNNING'\necho\necho '4|PENDING'\n")
    assert slurm_commands.states() == {"3_0": "RUNNING", "4": "PENDING"}
