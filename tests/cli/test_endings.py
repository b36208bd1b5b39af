"""How a command ends: whatever happens is one line and an exit code of the contract, and results are written first."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from audits.__main__ import main
from audits.cli import model, peers

SUBJECTS = """
import torch
from torch import nn

class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(13, 8), nn.Linear(8, 13)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))

class Leaky(Causal):
    def forward(self, tokens):
        return super().forward(tokens.flip(1))

class Naming(Causal):
    @property
    def config(self):
        raise RuntimeError("no configuration")

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Wordless(Causal):
    def forward(self, tokens):
        raise Odd

class Interrupting(Causal):
    def forward(self, tokens):
        raise KeyboardInterrupt

class Uncopied(Causal):
    def __deepcopy__(self, memo):
        raise GeneratorExit
"""
TINY = ["--seq-len", "8", "--probes", "perturbation"]
RUN = [sys.executable, "-m", "audits", "model"]


@pytest.fixture
def subjects(tmp_path: Path) -> str:
    (tmp_path / "subjects.py").write_text(SUBJECTS)
    return str(tmp_path / "subjects.py")


@pytest.mark.parametrize("name", ["Naming", "Wordless", "Interrupting", "Uncopied"])
def test_whatever_a_model_raises_is_one_line_and_2(
    name: str, subjects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", f"{subjects}:{name}", *TINY]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", ["model", "bet"])
def test_a_vocabulary_larger_than_the_models_is_one_line_and_2(
    command: str, subjects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, f"{subjects}:Causal", "--vocab-size", "14", "--seq-len", "32"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_error_of_our_own_is_2_and_debug_shows_the_traceback(
    subjects: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(model, "print_audit", broken)
    asked = ["model", f"{subjects}:Leaky", *TINY, "--json", str(tmp_path / "audit.json")]
    assert main(asked) == 2
    assert capsys.readouterr().err == (
        "hubrouter-audit: TypeError: a mistake of ours (not expected here; --debug shows where it comes from)\n"
    )
    assert json.loads((tmp_path / "audit.json").read_text())["verdict"] == "LEAK"
    assert main([*asked, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_one_output_that_fails_costs_no_other(subjects: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(model, "sarif", broken)
    files = ["--sarif", str(tmp_path / "audit.sarif"), "--json", str(tmp_path / "audit.json")]
    assert main(["model", f"{subjects}:Leaky", *TINY, *files]) == 2
    assert json.loads((tmp_path / "audit.json").read_text())["verdict"] == "LEAK"


def test_a_module_that_a_package_lacks_is_named_whatever_the_error_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_name(*_: object) -> None:
        raise ModuleNotFoundError("something is missing")

    monkeypatch.setattr(peers, "run", without_name)
    assert main(["peers"]) == 2
    assert "ModuleNotFoundError: something is missing" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--html", "--sarif", "--junit", "--badge"])
def test_an_output_that_is_no_regular_file_is_refused_before_the_target_is_loaded(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", str(tmp_path / "pipe"), str(tmp_path)):
        assert main(["model", "nowhere:model", option, path]) == 2
        assert f"cannot write {path}" in capsys.readouterr().err
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_two_names_of_one_output_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    for one, other in (("a", "b"), ("a", "c"), ("x", "./x")):
        outputs = ["--json", f"{tmp_path}/{one}", "--html", f"{tmp_path}/{other}"]
        assert main(["bet", "nowhere:model", *outputs]) == 2
        assert "a different one" in capsys.readouterr().err
    assert main(["model", "nowhere:model", "--json", "-", "--html", "/dev/stdout"]) == 2


@pytest.mark.parametrize("words", [["claims", "--page"], ["report", "--page"], ["leaks", "--json"]])
def test_every_command_looks_at_its_outputs_first(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "/dev/null"]) == 2
    assert "cannot write /dev/null" in capsys.readouterr().err


def test_escape_sequences_in_a_message_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "\x1b[31mnowhere:model"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_help_to_a_full_disk_is_2() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*RUN, "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_stdout_that_is_full_closed_or_narrow_loses_no_result(subjects: str, tmp_path: Path) -> None:
    asked, document = [*RUN, f"{subjects}:Leaky", *TINY], tmp_path / "audit.json"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*asked, "--json", document], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert json.loads(document.read_text())["verdict"] == "LEAK"
    closed = subprocess.run(["/bin/sh", "-c", '"$@" >&-', "sh", *asked, "--json", document], capture_output=True)
    assert (closed.returncode, closed.stderr) == (1, b"")
    refused = subprocess.run(["/bin/sh", "-c", '"$@" >&-', "sh", *asked, "--json", "-"], capture_output=True)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    narrow = subprocess.run([*asked, "--json", "/dev/stdout"], capture_output=True, env=environment)
    assert (narrow.returncode, json.loads(narrow.stdout)["verdict"]) == (1, "LEAK")
    assert b"Traceback" not in narrow.stderr


@pytest.mark.parametrize("isolate", [[], ["--isolate"]])
def test_a_reader_that_has_gone_loses_no_result_and_gets_no_exit_code_of_a_leak(
    isolate: list[str], subjects: str, tmp_path: Path
) -> None:
    document = tmp_path / "audit.json"
    read, write = os.pipe()
    os.close(read)  # as `| head` does
    asked = [*RUN, f"{subjects}:Leaky", *TINY, *isolate, "--json", str(document)]
    done = subprocess.run(asked, stdout=write, stderr=subprocess.PIPE, text=True)
    quiet = subprocess.run(asked, stdout=write, stderr=write)
    os.close(write)
    assert (done.returncode, quiet.returncode) == (2, 2)
    assert done.stderr == (
        "hubrouter-audit: not all could be printed: Broken pipe; files that were asked for are written\n"
    )
    assert json.loads(document.read_text())["verdict"] == "LEAK"


def test_a_file_that_grows_over_the_limit_of_the_system_is_one_line_and_leaves_nothing(
    subjects: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    asked = [*RUN, f"{subjects}:Leaky", *TINY, "--json", str(folder / "audit.json")]
    done = subprocess.run(asked, capture_output=True, text=True, preexec_fn=limited)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "File too large" in done.stderr
    assert not list(folder.iterdir())


def test_an_interrupt_of_the_user_is_130(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)")
    asked = [*RUN, f"{tmp_path}/slow.py:model"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout.readline() == "begun\n"
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said.count("\n")) == (130, 1)
