"""Executors as a user chooses them, and checkpoints: whose they are, and when they go."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from audits.__main__ import main
from audits.evidence.experiment import Experiment, Options, Progress, RunSpec
from audits.evidence.ledger import Ledger
from audits.evidence.runner import Gathered, gather
from audits.experiments.training.corpus import Corpus
from audits.experiments.training.training import TrainingConfig, train


def counting(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Counts how often it was begun with the same folder for its state, and dies or fails as it is told."""
    if options.checkpoints is None:
        return {"begun": 0}
    folder = Path(options.checkpoints)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "begun"
    begun = len(file.read_text()) + 1 if file.exists() else 1
    file.write_text("x" * begun)
    if spec.config.get("dies", 0) >= begun:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.config.get("fails", 0) >= begun:
        raise RuntimeError("not yet")
    return {"begun": begun, "folder": folder.name}


def trained(spec: RunSpec, options: Options, progress: Progress) -> dict[str, Any]:
    """Trains for real, notes its steps, and dies between training and its result as often as it is told."""
    assert options.checkpoints is not None
    tokens = torch.randint(5, (200,), generator=torch.Generator().manual_seed(spec.seed))
    corpus = Corpus("made up", "0" * 64, 200, tokens, tokens, 5, 200)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(0.2), nn.Linear(4, 5))
    log = Path(spec.config["log"])

    def noted(done: int, total: int, note: str = "") -> None:
        with log.open("a") as steps:
            steps.write(f"{note.split()[0]}{done} ")
        progress(done, total, note)

    config, file = TrainingConfig(steps=6, batch=2, seq_len=8, warmup=1), Path(options.checkpoints, "training")
    train(model, corpus, config, spec.seed, noted, checkpoint=file, checkpoint_seconds=0)
    assert not file.exists()
    with log.open("a") as steps:
        steps.write("trained\n")
    if len(log.read_text().splitlines()) <= spec.config["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"weights": [parameter.tolist() for parameter in model.parameters()]}


def gathered(folder: Path, *configs: dict[str, Any], keep: bool = True, **settings: Any) -> Gathered:
    runs = tuple(RunSpec("demo", config, seed) for seed, config in enumerate(configs))
    demo = Experiment("demo", lambda options: runs, counting)
    checkpoints = str(folder / "checkpoints") if keep else None
    console = Console(file=io.StringIO())
    return gather(
        [demo], Options(checkpoints=checkpoints), Ledger(folder / "evidence"), workers=1, console=console, **settings
    )


def results(outcome: Gathered) -> dict[int, Any]:
    return {record.seed: record.result["begun"] for record in outcome.evidence.records}


def left(folder: Path) -> int:
    return len(list((folder / "checkpoints").glob("*")))


def test_a_run_begun_again_finds_its_own_state_and_leaves_none_when_recorded(tmp_path: Path) -> None:
    outcome = gathered(tmp_path, {"dies": 1}, {})
    assert results(outcome) == {0: 2, 1: 1}
    assert len({record.result["folder"] for record in outcome.evidence.records}) == 2
    assert left(tmp_path) == 0


def test_a_run_that_failed_goes_on_the_next_time_but_one_done_afresh_starts_anew(tmp_path: Path) -> None:
    runs = ({"fails": 1}, {"fails": 2})
    assert len(gathered(tmp_path, *runs).failures) == 2
    assert left(tmp_path) == 2
    assert len(gathered(tmp_path, *runs, fresh=True).failures) == 2
    outcome = gathered(tmp_path, *runs)
    assert results(outcome) == {0: 2}
    assert [failure.spec.seed for failure in outcome.failures] == [1]
    assert left(tmp_path) == 1


def test_a_run_that_dies_after_training_is_not_trained_again(tmp_path: Path) -> None:
    runs = [RunSpec("demo", {"log": str(tmp_path / f"log-{dies}"), "dies": dies}) for dies in (0, 1)]
    options, console = Options(checkpoints=str(tmp_path / "checkpoints")), Console(file=io.StringIO())
    demo = Experiment("demo", lambda options: tuple(runs), trained)
    outcome = gather([demo], options, Ledger(tmp_path / "evidence"), workers=1, console=console)
    one, other = outcome.evidence.records
    assert one.result == other.result
    assert (tmp_path / "log-1").read_text().splitlines()[1] == "resumed5 loss6 trained"
    assert left(tmp_path) == 0


def test_without_a_folder_runs_keep_no_state(tmp_path: Path) -> None:
    assert results(gathered(tmp_path, {}, keep=False)) == {0: 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evidence"]


@pytest.fixture
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


SLURM = ["--executor", "slurm"]


@pytest.mark.usefixtures("no_slurm")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (SLURM, "needs Slurm's commands on this machine; not found: sbatch, srun, squeue, scancel, scontrol"),
        (["--executor", "cloud"], "invalid choice: 'cloud'"),
        (["--slurm", "partition=gpu"], "the executor is local; add --executor slurm"),
        ([*SLURM, "--device", "warp"], "device 'warp'"),
        ([*SLURM, "--workers", "0"], "workers"),
        (["--checkpoints", "{tmp}/file"], "file: not a folder that can be written"),
        ([*SLURM, "--checkpoints", "{tmp}/file/under"], "under: not a folder that can be written"),
    ],
)
def test_what_cannot_be_is_refused_with_code_2_and_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install '.[cluster]'")
    (tmp_path / "file").write_text("")
    check_refused([word.replace("{tmp}", str(tmp_path)) for word in words], message, tmp_path, capsys)


def test_without_submitit_slurm_is_refused_with_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "audits.evidence.executors.slurm", raising=False)
    check_refused(SLURM, "pip install 'hubrouter-audit[cluster]'", tmp_path, capsys)


def test_without_a_home_for_the_cache_slurm_asks_for_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audits.cli.claims.cache_folder", lambda: None)
    check_refused(SLURM, "give one with --checkpoints DIR", tmp_path, capsys)


def check_refused(words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["claims", "--only", "retrofit", "--reports", str(folder / "reports"), *words])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert err.strip().count("\n") == 0 or "usage" in err
    assert not list(folder.rglob("claims*"))
