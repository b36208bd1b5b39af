"""The writer against a model in memory: whatever is written, refused or interrupted, files are whole, old or new."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import audits.report.write
from audits.report.write import ReportError, append_text, remove_files, write_texts

# A fifth of the examples of others; `nox -s faults` loads a profile of more.
SETTINGS = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=20, deadline=None)
NAMES = ("a", "b", "deep/c", "deep/d", "link")  # the last leads to deep/d
DEAD = 2**22 + 1  # above the largest process number of Linux


class WriterStates(RuleBasedStateMachine):
    """A folder of texts; the model is a dictionary."""

    names = st.sampled_from(NAMES)
    texts = st.dictionaries(names, st.text(max_size=20), min_size=1, max_size=3).filter(
        lambda texts: not {"link", "deep/d"} <= texts.keys()  # commands refuse two names of one file
    )

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp())
        (self.folder / "link").symlink_to("deep/d")
        (self.folder / "deep").mkdir()
        self.model: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def paths(self, texts: dict[str, str]) -> dict[Path, str]:
        return {self.folder / name: text for name, text in texts.items()}

    def changed(self, texts: dict[str, str]) -> dict[str, str]:
        """The model after a writing."""
        return self.model | {name.replace("link", "deep/d"): text for name, text in texts.items()}

    @rule(texts=texts)
    def write(self, texts: dict[str, str]) -> None:
        write_texts(self.paths(texts))
        self.model = self.changed(texts)

    @rule(texts=texts, call=st.sampled_from(["fsync", "replace", "write"]), after=st.integers(0, 2))
    def fail_while_writing(self, texts: dict[str, str], call: str, after: int) -> None:
        """A disk that is full, or an error of the system, at any moment."""
        left = after

        def failing(real: Any) -> Any:
            def called(*words: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return real(*words)

            return called

        place = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "write": (audits.report.write, "_encoded")}[call]
        before, new = self.model, self.changed(texts)
        with mock.patch.object(*place, failing(getattr(*place))):
            try:
                write_texts(self.paths(texts))
                self.model = new
            except ReportError:
                found = self.found()
                assert all(text in (before.get(name), new[name]) for name, text in found.items())
                assert before.keys() <= found.keys()
                assert call == "replace" or found == before
                self.model = found

    @rule(texts=texts, refused=st.sampled_from(["deep", "pipe"]))
    def refuse(self, texts: dict[str, str], refused: str) -> None:
        if refused == "pipe" and not (self.folder / "pipe").exists():
            os.mkfifo(self.folder / "pipe")
        with pytest.raises(ReportError):
            write_texts(self.paths(texts) | {self.folder / refused: "text"})

    @rule(name=names, text=st.text(max_size=20))
    def append(self, name: str, text: str) -> None:
        append_text(self.folder / name, text)
        name = name.replace("link", "deep/d")
        self.model[name] = self.model.get(name, "") + text

    @rule(name=st.sampled_from(NAMES[:-1]))
    def remove(self, name: str) -> None:
        remove_files([self.folder / name])
        self.model.pop(name, None)

    @rule(text=st.text(max_size=5), folder=st.sampled_from([".", "deep"]))
    def die_while_writing(self, text: str, folder: str) -> None:
        """What a killed process leaves is no part of the model, and the next writer of its folder removes it."""
        litter = f".hubrouter-audit-{audits.report.write._HOST}-{DEAD}-0.tmp"
        (self.folder / folder / litter).write_text(text)
        name = {".": "a", "deep": "deep/c"}[folder]
        write_texts({self.folder / name: text})
        self.model[name] = text

    def found(self) -> dict[str, str]:
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes().decode() for path in files}

    @invariant()
    def holds_what_the_model_says(self) -> None:
        assert self.found() == self.model
        assert (self.folder / "link").is_symlink()


def test_every_file_is_whole_old_or_new_whatever_happens() -> None:
    run_state_machine_as_test(WriterStates, settings=SETTINGS)
