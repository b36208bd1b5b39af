"""Runs on a real Slurm cluster of one machine: they end as locally, and go on after their jobs were killed."""

import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from slurm_cluster import Cluster, missing, running_cluster
from torch import nn

from audits.evidence.executors.executor import Event, ExecutorError, ProgressReported
from audits.evidence.executors.slurm import SlurmExecutor
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Ledger
from audits.evidence.machine import environment
from audits.evidence.runner import Gathered, gather
from audits.experiments.training.corpus import Corpus
from audits.experiments.training.training import TrainingConfig, train

HERE = Path(__file__).resolve()
STEPS = 6
PATIENCE = 300.0  # seconds; a job imports torch before it begins, and the machine may be busy

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "never")


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, found by its commands; jobs find this file's functions."""
    for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(running.conf))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(HERE.parent), str(HERE.parents[2]))))
    return running


def square(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    if spec.config["x"] < 0:
        raise ValueError("two\nlines")
    progress(1, 1, "done")
    return {"square": spec.config["x"] ** 2, "drawn": torch.rand(()).item(), "threads": torch.get_num_threads()}


def timed(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    start = time.time()
    time.sleep(0.5)
    return {"start": start, "end": time.time()}


def trained(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Trains for real with a checkpoint after each step, notes its steps, and waits in the third until it is let go."""
    assert options.checkpoints is not None
    folder = Path(spec.config["folder"])
    tokens = torch.randint(5, (200,), generator=torch.Generator().manual_seed(spec.seed))
    corpus = Corpus("made up", "0" * 64, 200, tokens, tokens, 5, 200)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(0.2), nn.Linear(4, 5))  # weights and dropout drawn by the seed

    def tell(done: int, total: int, note: str = "") -> None:
        with (folder / f"steps-{spec.seed}").open("a") as log:
            log.write("resumed " if note.startswith("resumed") else f"{done} ")
        progress(done, total, note)
        while done == 3 and not (folder / "go").exists():
            time.sleep(0.05)

    file = Path(options.checkpoints, "training.safetensors")
    config = TrainingConfig(steps=STEPS, batch=2, seq_len=8, warmup=1)
    outcome = train(model, corpus, config, spec.seed, tell, checkpoint=file, checkpoint_seconds=0)
    return {"curve": outcome.curve, "weights": [parameter.tolist() for parameter in model.parameters()]}


def gathered(
    tmp_path: Path, executor: SlurmExecutor | None, *experiments: Experiment, **settings: Any
) -> tuple[Gathered, str]:
    text = io.StringIO()
    options = Options(checkpoints=str(tmp_path / "checkpoints"))
    ledger = Ledger(tmp_path / ("evidence" if executor else "local"))
    outcome = gather(
        experiments, options, ledger, console=Console(file=text, width=60), executor=executor, workers=2, **settings
    )
    return outcome, text.getvalue()


def on_slurm(tmp_path: Path, **options: str) -> SlurmExecutor:
    return SlurmExecutor(tmp_path / "shared", options, poll=0.3)


def seen(cluster: Cluster, what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, (cluster.jobs(), cluster.logs)
        time.sleep(0.1)


def steps(folder: Path, seed: int) -> str:
    file = folder / f"steps-{seed}"
    return file.read_text() if file.exists() else ""


def test_jobs_give_what_local_processes_give_and_failures_in_one_line(cluster: Cluster, tmp_path: Path) -> None:
    runs = tuple(RunSpec("demo", {"x": x}, x + 5) for x in (2, 3, -1))
    demo = Experiment("demo", lambda options: runs, square)
    unsendable = Experiment("local", lambda options: (RunSpec("local"),), lambda *_: {})
    exclusive = Experiment(
        "exclusive", lambda options: tuple(RunSpec("exclusive", {}, seed) for seed in (1, 2)), timed, exclusive=True
    )
    outcome, text = gathered(tmp_path, on_slurm(tmp_path, time="5"), unsendable, demo, exclusive)
    local, _ = gathered(tmp_path, None, demo)
    assert [r.result for r in outcome.evidence.of("demo")] == [r.result for r in local.evidence.of("demo")]
    assert [r.environment for r in outcome.evidence.of("demo")] == [environment()] * 2
    unsent, raised = sorted(failure.line for failure in outcome.failures)[::-1]
    assert unsent.startswith("local {} seed 0: cannot be sent to a worker")
    assert raised.startswith('demo {"x": -1} seed 4: ValueError: two lines (test_slurm.py:')
    assert "[6/6]" in text
    (a, b), (c, d) = sorted((r.result["start"], r.result["end"]) for r in outcome.evidence.of("exclusive"))
    assert a < b <= c < d
    kept = {path.name for path in (tmp_path / "shared").rglob("*") if path.is_file()}
    assert not [name for name in kept if name.endswith((".job", ".events", ".partial", ".pkl"))]
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "checkpoints").glob("*/*"))


def test_runs_of_killed_and_preempted_jobs_go_on_to_the_same_result(cluster: Cluster, tmp_path: Path) -> None:
    runs = tuple(RunSpec("demo", {"folder": str(tmp_path)}, seed, f"run {seed}") for seed in (10, 20))
    demo = Experiment("demo", lambda options: runs, trained)
    found: list[tuple[Gathered, str]] = []
    work = threading.Thread(target=lambda: found.append(gathered(tmp_path, on_slurm(tmp_path), demo)), daemon=True)
    work.start()
    seen(cluster, lambda: steps(tmp_path, 10) == steps(tmp_path, 20) == "1 2 3 ")
    killed, preempted = sorted(job for job, state in cluster.jobs().items() if state == "RUNNING")
    cluster.ask("scancel", "--signal=KILL", killed)
    cluster.ask("scancel", "--signal=USR2", preempted)
    cluster.hurry(preempted)
    seen(cluster, lambda: cluster.jobs()[killed] == "CANCELLED")
    (tmp_path / "go").write_text("")  # only now: a run may end in the seconds that Slurm leaves it
    work.join(PATIENCE)
    (outcome, text), = found  # fmt: skip
    assert outcome.failures == ()
    results = {r.seed: r.result for r in outcome.evidence.records}
    assert results == {seed: undisturbed(tmp_path, seed) for seed in (10, 20)}
    assert [steps(tmp_path, seed) for seed in (10, 20)] == ["1 2 3 resumed 3 4 5 6 "] * 2
    assert f"job {killed} ended (CANCELLED); beginning it once more" in text
    assert f"job {preempted} was requeued" in text
    assert "Restarts=1" in cluster.ask("scontrol", "show", "job", preempted)


def undisturbed(folder: Path, seed: int) -> dict[str, Any]:
    """The result in this process, from the start, as it reads back from JSON."""
    apart = folder / f"apart-{seed}"
    apart.mkdir()
    (apart / "go").write_text("")
    torch.manual_seed(seed)
    spec = RunSpec("demo", {"folder": str(apart)}, seed)
    result: dict[str, Any] = json.loads(json.dumps(trained(spec, Options(checkpoints=str(apart)), _unheard)))
    return result


def _unheard(done: int, total: int, note: str = "") -> None:
    """Progress that nobody sees."""


class Impatient(SlurmExecutor):
    """As if Ctrl-C was pressed at the first report of progress."""

    def wait(self, seconds: float | None) -> Any:
        news: list[Event] = list(super().wait(seconds))
        if any(isinstance(event, ProgressReported) for event in news):
            raise KeyboardInterrupt
        return news


def test_after_ctrl_c_the_same_command_collects_what_went_on_without_it(cluster: Cluster, tmp_path: Path) -> None:
    demo = Experiment("demo", lambda options: (RunSpec("demo", {"folder": str(tmp_path)}, 30),), trained)
    text, before = io.StringIO(), set(cluster.jobs())
    options, ledger = Options(checkpoints=str(tmp_path / "checkpoints")), Ledger(tmp_path / "evidence")
    with pytest.raises(KeyboardInterrupt):
        gather(
            [demo], options, ledger, console=Console(file=text, width=60),
            executor=Impatient(tmp_path / "shared", {}, poll=0.3),
        )  # fmt: skip
    assert "runs that stay with Slurm: 1; the same command collects them" in text.getvalue()
    (tmp_path / "go").write_text("")
    outcome, _ = gathered(tmp_path, on_slurm(tmp_path), demo)
    assert [r.result for r in outcome.evidence.records] == [undisturbed(tmp_path, 30)]
    assert steps(tmp_path, 30) == "1 2 3 4 5 6 "
    assert len(set(cluster.jobs()) - before) == 1


def test_what_slurm_refuses_is_one_clear_error(cluster: Cluster, tmp_path: Path) -> None:
    demo = Experiment("demo", lambda options: (RunSpec("demo", {"x": 1}),), square)
    for options, why in (({"partition": "nowhere"}, "partition specified: nowhere"), ({"colour": "red"}, "colour")):
        with pytest.raises(ExecutorError, match=why) as refused:
            gathered(tmp_path, on_slurm(tmp_path, **options), demo)
        assert "\n" not in str(refused.value)
    assert Ledger(tmp_path / "evidence").read().records == ()
