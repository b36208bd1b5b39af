"""Checkpoints: a killed run ends as if nothing had happened, and no file on disk can corrupt or stop a run."""

import dataclasses
import errno
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_run import CONFIG, STEPS, Averaging, V, corpus, state, trained
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import audits.experiments.training.checkpoint
from audits.experiments.training.training import Divergence, TrainingConfig, TrainingOutcome, train

ROOT = Path(__file__).parents[2]


class StoppedError(Exception):
    """A simulated kill, in the same process."""


def stopped(path: Path, after: int, **changes: Any) -> None:
    """A run that writes a checkpoint after every step and stops as the progress of a step is reported."""

    def progress(done: int, total: int, note: str = "") -> None:
        if done > after:
            raise StoppedError

    settings: dict[str, Any] = {"config": CONFIG, "seed": 1} | changes
    with pytest.raises(StoppedError):
        train(Averaging(), corpus(), progress=progress, checkpoint=path, checkpoint_seconds=0, **settings)


def finished(path: Path, model: nn.Module | None = None, **changes: Any) -> tuple[TrainingOutcome, list[str]]:
    """A run to its end, and the notes it reported."""
    notes = []
    settings: dict[str, Any] = {"config": CONFIG, "seed": 1, "checkpoint_seconds": 0} | changes
    model = Averaging() if model is None else model
    outcome = train(
        model, corpus(), progress=lambda done, total, note="": notes.append(note), checkpoint=path, **settings
    )
    return outcome, notes


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole() -> tuple[TrainingOutcome, dict[str, Tensor]]:
    """The run that nothing disturbs and that writes nothing."""
    return trained(None)


def test_a_run_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]]
) -> None:
    file = tmp_path / "run.safetensors"
    steps = [str(step) for step in sorted(random.sample(range(1, STEPS), 4))]
    command = [sys.executable, str(ROOT / "tests" / "experiments" / "killed_run.py"), str(file), *steps]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == steps
    outcome, left = trained(file)
    assert outcome.curve == whole[0].curve
    assert same(left, whole[1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", range(STEPS))
def test_a_run_resumed_after_any_step_gives_the_same_curve_and_weights(
    tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]], step: int
) -> None:
    file = tmp_path / "folder" / "run"
    stopped(file, step)
    model = Averaging()
    torch.rand(step)  # what the process drew before must not matter
    outcome, notes = finished(file, model)
    assert notes[0] == (f"resumed after step {step}" if step else notes[0])
    assert len(notes) == STEPS - step + bool(step)
    assert outcome.curve == whole[0].curve
    assert same(state(model), whole[1])
    assert not file.exists()


def test_writing_checkpoints_changes_nothing(tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]]) -> None:
    outcome, left = trained(tmp_path / "run")
    assert outcome.curve == whole[0].curve
    assert same(left, whole[1])


def test_nothing_is_written_before_it_is_due(tmp_path: Path) -> None:
    seen = []
    model = Averaging()
    train(
        model,
        corpus(),
        CONFIG,
        1,
        lambda done, total, note="": seen.append(list(tmp_path.iterdir())),
        checkpoint=tmp_path / "run",
        checkpoint_seconds=1000,
    )
    assert seen == [[]] * STEPS


def test_the_seconds_of_a_resumed_run_are_those_of_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr("audits.experiments.training.training.time.perf_counter", lambda: float(next(ticks)))
    stopped(tmp_path / "run", 6)
    assert finished(tmp_path / "run")[0].seconds == pytest.approx(STEPS)


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {"seed": 2},
    "config": {"config": dataclasses.replace(CONFIG, lr=0.01)},
    "penalty": {"penalty": lambda model: model.embed.weight.square().sum()},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_run_is_ignored_in_one_line(tmp_path: Path, other: str) -> None:
    expected = finished(tmp_path / "none")[0]
    stopped(tmp_path / "run", 5, **OTHERS[other])
    outcome, notes = finished(tmp_path / "run")
    assert notes[0] == (f"checkpoint run is ignored, training starts anew: it is of another run ({other} differs)")
    assert outcome.curve == expected.curve


def test_other_first_weights_or_another_model_are_another_run(tmp_path: Path) -> None:
    class Other(Averaging):
        pass

    moved, wider = Averaging(), Averaging()
    moved.frozen.data += 1
    wider.frozen = nn.Parameter(torch.zeros(1, 8), requires_grad=False)
    for model, says in (
        (moved, "(start differs)"),
        (Other(), "(modules differs)"),
        (wider, "(start, tensors differs)"),
    ):
        stopped(tmp_path / "run", 5)
        assert says in finished(tmp_path / "run", model)[1][0]


@pytest.mark.parametrize("damage", ["empty", "cut", "cut in the header", "flipped", "text", "folder", "longer"])
def test_a_damaged_checkpoint_is_ignored_and_training_starts_anew(
    tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]], damage: str
) -> None:
    file = tmp_path / "run"
    stopped(file, 4)
    data = bytearray(file.read_bytes())
    match damage:
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(data[:-7])
        case "cut in the header":
            file.write_bytes(data[:40])
        case "flipped":
            data[-3] ^= 4
            file.write_bytes(data)
        case "text":
            file.write_text("not a checkpoint")
        case "longer":
            file.write_bytes(data + b"\0" * 8)
        case "folder":
            file.unlink()
            file.mkdir()
    model = Averaging()
    outcome, notes = finished(file, model)
    assert notes[0].startswith("checkpoint run is ignored, training starts anew: ")
    assert "\n" not in notes[0]
    assert outcome.curve == whole[0].curve
    assert same(state(model), whole[1])


@pytest.mark.parametrize("lie", ["step", "lost weight", "shape", "no facts"])
def test_a_file_that_is_well_formed_and_lies_is_ignored(
    tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]], lie: str
) -> None:
    from safetensors import safe_open

    file = tmp_path / "run"
    stopped(file, 4)
    with safe_open(file, framework="pt") as opened:
        facts = opened.metadata()
    tensors = load_file(file)
    match lie:
        case "step":
            tensors["losses"] = tensors["losses"][:3]
        case "lost weight":
            del tensors["parameter.head.bias"]
        case "shape":
            tensors["parameter.head.bias"] = torch.zeros(V + 1)
    if lie in ("lost weight", "shape"):  # with the right checksum
        facts["sha256"] = audits.experiments.training.checkpoint._checksum(
            tensors, facts["identity"] + facts["seconds"]
        )
    save_file(tensors, file, None if lie == "no facts" else facts)
    outcome, notes = finished(file)
    assert notes[0].startswith("checkpoint run is ignored, training starts anew: ")
    assert outcome.curve == whole[0].curve


def test_a_full_disk_is_reported_once_and_ends_no_run(
    tmp_path: Path, whole: tuple[TrainingOutcome, dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    outcome, notes = finished(tmp_path / "run")
    warnings = [note for note in notes if not note.startswith("loss")]
    assert warnings == ["no checkpoint could be written, a kill would lose this run: No space left on device"]
    assert outcome.curve == whole[0].curve
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_the_last_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(tmp_path / "run", 5)
    before = (tmp_path / "run").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        stopped(tmp_path / "run", 9)
    assert (tmp_path / "run").read_bytes() == before


def test_a_folder_that_cannot_be_made_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome, notes = finished(tmp_path / "file" / "run")
    assert len(outcome.curve) == STEPS
    assert sum("no checkpoint could be written" in note for note in notes) == 1


def test_a_half_written_file_of_a_kill_is_replaced_and_removed(tmp_path: Path) -> None:
    (tmp_path / "run.part").write_bytes(b"half")
    assert len(finished(tmp_path / "run")[0].curve) == STEPS
    assert list(tmp_path.iterdir()) == []


class Complex(Averaging):
    """Holds a type that the file format does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex128))


def test_a_tensor_that_cannot_be_stored_is_reported_and_ends_no_run(tmp_path: Path) -> None:
    outcome, notes = finished(tmp_path / "run", Complex())
    assert len(outcome.curve) == STEPS
    assert sum("a tensor cannot be stored" in note for note in notes) <= 1


class Exploding(Averaging):
    """Not a number from a weight of its own on: the step counter is a buffer, so that it survives a kill."""

    def forward(self, tokens: Tensor) -> Tensor:
        late = int(self.seen) >= 7 * tokens.numel()
        return super().forward(tokens) * (math.inf if late else 1.0)


def test_divergence_is_recorded_across_a_resume(tmp_path: Path) -> None:
    expected = train(Exploding(), corpus(), CONFIG, 1, lambda done, total, note="": None)
    assert expected.divergence == Divergence("loss is NaN", 8)

    def progress(done: int, total: int, note: str = "") -> None:
        if done > 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(Exploding(), corpus(), CONFIG, 1, progress, checkpoint=tmp_path / "run", checkpoint_seconds=0)
    outcome, notes = finished(tmp_path / "run", Exploding())
    assert notes[0] == "resumed after step 4"
    assert outcome.divergence == expected.divergence
    assert outcome.curve == expected.curve
    assert not (tmp_path / "run").exists()


def test_a_run_killed_after_its_last_step_needs_no_further_one(tmp_path: Path) -> None:
    file = tmp_path / "run"
    longer = Averaging()
    expected = finished(tmp_path / "none")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audits.experiments.training.checkpoint.Checkpoint, "remove", lambda self: None)
        finished(file)
    outcome, notes = finished(file, longer)
    assert notes == [f"resumed after step {STEPS}"]
    assert outcome.curve == expected.curve


def test_without_safetensors_a_checkpoint_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(audits.experiments.training.checkpoint.CheckpointError, match="safetensors; pip install"):
        finished(tmp_path / "run")
    brief = TrainingConfig(2, 3, 12, warmup=0)
    train(Averaging(), corpus(), brief, 0, lambda done, total, note="": None)
