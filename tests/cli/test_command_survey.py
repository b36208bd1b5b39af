"""`hubrouter-audit survey`: architectures of the installed transformers, resumed, with exit codes by review."""

import json
from pathlib import Path

import pytest

from audits.__main__ import main

pytest.importorskip("transformers")


def survey(out: Path, *more: str) -> int:
    return main(["survey", "transformers", "--out", str(out), "--seq-len", "20", "--workers", "1", *more])


def test_architectures_are_audited_once_and_explained_leaks_do_not_fail(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert survey(tmp_path, "--only", "BertLMHeadModel", "gpt2") == 0
    (document,) = (json.loads(file.read_text()) for file in tmp_path.glob("transformers-*.json"))
    models = {model["name"]: model for model in document["models"]}
    assert models["bert"]["verdict"] == "LEAK"
    assert models["bert"]["leak_class"] == "dense"
    assert models["bert"]["file"].startswith("transformers/")
    assert models["bert+is_decoder"]["verdict"] == models["gpt2"]["verdict"] == "PASS"
    assert survey(tmp_path, "--only", "bert", "gpt2") == 0
    assert "0 runs to execute" in capfd.readouterr().err


def test_an_unknown_architecture_exits_2_with_one_line_and_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert survey(tmp_path, "--only", "lama") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "llama" in error
    assert not list(tmp_path.iterdir())


def test_an_unknown_library_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["survey", "phlogiston"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_sequences_longer_than_the_tiny_models_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert survey(tmp_path, "--seq-len", "65") == 2
    assert "64 at most" in capsys.readouterr().err
