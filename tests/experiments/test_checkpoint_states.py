"""Checkpoints against a model in memory: stopped, damaged and resumed in any order, a run ends as if it were not."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from killed_run import CONFIG, STEPS, Averaging, corpus, state, trained
from torch import Tensor

from audits.evidence.executors.kept_state import KEPT, keep, restore
from audits.experiments.training.training import TrainingOutcome, train

# A tenth of the examples of others; `nox -s faults` loads a profile of more.
SETTINGS = settings(max_examples=settings.default.max_examples // 10, stateful_step_count=15, deadline=None)


class StoppedError(Exception):
    """A simulated kill, in the same process."""


class CheckpointStates(RuleBasedStateMachine):
    """One run, in several goes; the model is the step that the next go resumes after."""

    whole: ClassVar[tuple[TrainingOutcome, dict[str, Tensor]]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        self.file = self.folder / "run"
        self.saved = self.kept = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def go(self, seed: int, stop_after: int, *, kept: bool = False) -> None:
        """Train until a step's progress; it begins where the model says."""
        notes: list[str] = []

        def progress(done: int, total: int, note: str = "") -> None:
            notes.append(note)
            if kept:
                keep(self.folder)
            if note.startswith("loss") and done > stop_after:
                raise StoppedError

        model, before = Averaging(), self.saved
        try:
            outcome = train(model, corpus(), CONFIG, seed, progress, checkpoint=self.file, checkpoint_seconds=0)
            assert outcome.curve == self.whole[0].curve
            left = state(model)
            assert all(left[name].equal(tensor) for name, tensor in self.whole[1].items())
            self.saved = 0
        except StoppedError:
            self.saved = max(before, stop_after)
        if kept:
            self.kept = max(before, min(stop_after, STEPS - 1))
        assert not before or notes[0] == f"resumed after step {before}"

    @rule(stop_after=st.sampled_from([0, 3, 7, STEPS - 1, STEPS, STEPS]), kept=st.booleans())
    def resume(self, stop_after: int, kept: bool) -> None:
        self.go(1, stop_after, kept=kept)

    @rule(place=st.floats(0, 1), byte=st.binary(max_size=3))
    @precondition(lambda self: self.saved)
    def damage(self, place: float, byte: bytes) -> None:
        """Other bytes somewhere in the tensors, or the rest is missing."""
        data = self.file.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")  # of the tensors, in a file of safetensors
        at = begin + round(place * (len(data) - begin - 1))
        damaged = data[:at] + byte + data[at + len(byte) :] if byte else data[:at]
        self.file.unlink()  # not in place: its second name is another file's
        self.file.write_bytes(damaged)
        if damaged != data:
            self.saved = 0

    @rule()
    def leave_half_a_file(self) -> None:
        (self.folder / "run.part").write_bytes(b"half")

    @rule()
    def put_another_runs_file(self) -> None:
        self.file.unlink(missing_ok=True)
        self.saved = 0
        self.go(2, 3)
        self.saved = 0

    @rule()
    @precondition(lambda self: not self.file.exists())
    def give_back_what_was_kept(self) -> None:
        restore(self.folder)
        self.saved = self.kept

    @invariant()
    def there_is_no_other_file(self) -> None:
        assert {path.name for path in self.folder.iterdir()} <= {"run", "run.part", KEPT}


def test_whatever_happens_to_a_checkpoint_the_run_ends_as_if_it_had_none() -> None:
    CheckpointStates.whole = trained(None)
    run_state_machine_as_test(CheckpointStates, settings=SETTINGS)
