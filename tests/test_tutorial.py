"""The tutorial is followed word by word: its model leaks, its change mends it, and the output is what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from audits.__main__ import main

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "tutorial.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    fenced = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
    return [text for name, text in fenced if name == language]


def comparable(text: str) -> str:
    """The text without its numbers, which a machine or a release of torch may change, and with single spaces."""
    return " ".join(re.sub(r"\d[\d.]*(e-\d+)?(?!\d)", "#", text).split())


def mended(source: str, change: str) -> str:
    """The source after a change, whose blocks of removed lines stand before those that replace them."""
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", change, re.MULTILINE):
        before, after = ("".join(line[1:] for line in part.splitlines(keepends=True)) for part in (old, new))
        assert source.count(before) == 1
        source = source.replace(before, after)
    return source


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tutorial's model, in a terminal as wide as the tutorial's."""
    (tmp_path / "mixer.py").write_text(blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_the_model_leaks_and_the_change_mends_it_with_the_output_as_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *_ = (text for text in blocks("") if text.startswith("hubrouter-audit"))
    finding, probes, passed = map(comparable, blocks("text"))
    assert main(command.split()[1:]) == 1
    assert comparable(capsys.readouterr().out) == f"{finding} {probes}"
    (folder / "mixer.py").write_text(mended(blocks("python")[0], *blocks("diff")))
    assert main(command.split()[1:]) == 0
    assert comparable(capsys.readouterr().out) == passed


def test_the_test_of_the_tutorial_fails_before_the_change_and_passes_after_it(folder: Path) -> None:
    (test,) = (text for text in blocks("") if "test_mixer.py" in text)
    (folder / "test_mixer.py").write_text(test)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "audits.testing.plugin", "-p", "no:cacheprovider"]
    before = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert before.returncode == 1
    assert "dense leak at mixer.py:15" in before.stdout
    (folder / "mixer.py").write_text(mended(blocks("python")[0], *blocks("diff")))
    assert subprocess.run(run, cwd=folder, capture_output=True, check=False).returncode == 0
