"""The tutorial is followed word by word: its model leaks, its change mends it, and the output is what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from audits.__main__ import main
from docs.pictures import draw


def comparable(text: str) -> str:
    """The text without its numbers, which a machine or a release of torch may change, and with single spaces."""
    return " ".join(re.sub(r"\d[\d.]*(e-\d+)?(?!\d)", "#", text).split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tutorial's model, in a terminal as wide as the tutorial's."""
    (tmp_path / "mixer.py").write_text(draw.blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_the_model_leaks_and_the_change_mends_it_with_the_output_as_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = draw.blocks("sh")
    finding, probes, passed = map(comparable, draw.blocks("text"))
    assert main(command.split()[1:]) == 1
    assert comparable(capsys.readouterr().out) == f"{finding} {probes}"
    (folder / "mixer.py").write_text(draw.fixed())
    assert main(command.split()[1:]) == 0
    assert comparable(capsys.readouterr().out) == passed


def test_the_test_of_the_tutorial_fails_before_the_change_and_passes_after_it(folder: Path) -> None:
    test = draw.blocks("python")[1]
    (folder / "test_mixer.py").write_text(test)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "audits.testing.plugin", "-p", "no:cacheprovider"]
    before = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert before.returncode == 1
    assert "dense leak at mixer.py:15" in before.stdout
    (folder / "mixer.py").write_text(draw.fixed())
    assert subprocess.run(run, cwd=folder, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", [name for name in draw.PICTURES if name.startswith("tutorial")])
def test_the_pictures_show_what_an_audit_prints_and_writes(name: str) -> None:
    committed = (draw.HERE / name).read_text(encoding="utf-8")
    assert said(committed) == said(draw.PICTURES[name]())


def said(picture: str) -> str:
    """The text of a drawing, without the space that is used to lay it out."""
    return comparable(" ".join(ElementTree.fromstring(picture).itertext()).replace("\xa0", " "))
