"""`hubrouter-audit model`: exit codes, documents, and one clear line for whatever cannot run."""

import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest

from audits.__main__ import main
from audits.cli import model

COUNCIL = "audits.leaks.hub_bidirectional_council"
QUICK = ["--seq-len", "24", "--probes", "perturbation,gradient"]

SUBJECTS = '''
import torch
from torch import nn

class Tagger(nn.Module):
    """A causal model: a running sum of embeddings."""
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))

class Needs(nn.Module):
    def __init__(self, width):
        super().__init__()

def causal():
    print("a factory that prints")
    return Tagger()

def raising():
    raise RuntimeError("no weights\\nfound here")

class Broken(Tagger):
    def forward(self, tokens):
        raise ValueError("shape mismatch")

class Short(Tagger):
    def forward(self, tokens):
        return super().forward(tokens)[:, :-1]

class NotANumber(Tagger):
    def forward(self, tokens):
        return super().forward(tokens) * float("nan")

class NoVocabulary(nn.Module):
    def forward(self, tokens):
        return nn.functional.one_hot(tokens, 100).float().cumsum(1)

class OneToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1, 4)
    def forward(self, tokens):
        return self.embedding(tokens)

def features(x):
    return x.cumsum(1)

def leaving():
    raise SystemExit(0)

class Leaves(Tagger):
    calls = 0
    def forward(self, tokens):
        Leaves.calls += 1
        if Leaves.calls > 8:
            raise SystemExit(0)
        return super().forward(tokens.flip(1))

future = lambda x: x - x.mean(1, keepdim=True)
constant = 3
'''


@pytest.fixture
def subjects(tmp_path: Path) -> str:
    file = tmp_path / "subjects.py"
    file.write_text(SUBJECTS)
    return str(file)


def test_a_leak_exits_1_and_names_class_module_and_a_line_to_reproduce(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", f"{COUNCIL}:leaky", *QUICK]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "dense" in out
    assert "blocks.0.mixer.council" in out
    assert f"hubrouter-audit model {COUNCIL}:leaky" in out


def test_a_causal_model_exits_0(subjects: str) -> None:
    assert main(["model", f"{subjects}:Tagger", "--seq-len", "24"]) == 0


def test_a_feature_model_is_audited_with_its_width(subjects: str) -> None:
    features = ["--input", "features", "--width", "4", "--seq-len", "16"]
    assert main(["model", f"{subjects}:features", *features]) == 0
    assert main(["model", f"{subjects}:future", *features]) == 1


def test_json_on_standard_output_is_a_document_and_nothing_else(
    subjects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", f"{subjects}:causal", "--seq-len", "16", "--json", "-"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["schema"], document["verdict"]) == (1, "PASS")
    assert document["target"] == f"{subjects}:causal"
    assert {"name", "verdict", "why", "forwards", "seconds"} <= set(document["probes"][0])
    assert "a factory that prints" in captured.err


def test_every_output_asked_for_is_written(tmp_path: Path) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("json", "sarif", "html", "junit", "badge")}
    written = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    assert main(["model", f"{COUNCIL}:leaky", *QUICK, *written]) == 1
    finding = json.loads(files["json"].read_text())["findings"][0]
    assert finding["leak_class"] == "dense"
    assert finding["source"]["position"] > finding["sink"]["position"]
    assert json.loads(files["sarif"].read_text())["version"] == "2.1.0"
    assert "<svg" in files["html"].read_text()
    assert '<failure message="The output at position' in files["junit"].read_text()
    assert json.loads(files["badge"].read_text())["message"] == "LEAK: dense"


def test_a_map_that_cannot_be_measured_costs_neither_result_nor_page(
    subjects: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*asked: object) -> None:
        raise ValueError("no map today")

    monkeypatch.setattr(model, "influence_of", refuse)
    page, document = tmp_path / "page.html", tmp_path / "audit.json"
    files = ["--html", str(page), "--json", str(document)]
    assert main(["model", f"{subjects}:Tagger", "--seq-len", "16", "--probes", "gradient", *files]) == 0
    assert json.loads(document.read_text())["verdict"] == "PASS"
    assert "could not be measured: ValueError: no map today" in page.read_text()


BAD = [
    (["{file}:nothing"], "no attribute 'nothing'"),
    (["{file}"], "package.module:attribute"),
    (["missing_package.module:model"], "No module named"),
    (["missing_file.py:model"], "no file"),
    (["{file}:constant"], "not a module, callable or factory"),
    (["{file}:raising"], "RuntimeError: no weights"),
    (["{file}:leaving"], "SystemExit"),
    (["{file}:Tagger", "--json", "x", "--html", "x"], "a different one"),
    (["{file}:Tagger", "--json", "x", "--html", "./x"], "a different one"),
    (["{file}:Tagger", "--sarif", "-"], "only --json"),
    (["{file}:Needs"], "needs width"),
    (["{file}:Broken"], "ValueError"),
    (["{file}:Short"], "batch and sequence axes"),
    (["{file}:NoVocabulary"], "--vocab-size"),
    (["{file}:OneToken"], "vocab_size=1"),
    (["{file}:Tagger", "--vocab-size", "1"], "vocab_size=1"),
    (["{file}:Tagger", "--seq-len", "1"], "at least 2"),
    (["{file}:Tagger", "--batch", "0"], "batch must be at least 1"),
    (["{file}:Tagger", "--probes", "magic"], "no probe is called magic; there are perturbation, "),
    (["{file}:Tagger", "--probes", "gradiant"], "did you mean gradient?"),
    (["{file}:Tagger", "--probes", ""], "no probe is called (none)"),
    (["{file}:Tagger", "--device", "warp"], "device 'warp'"),
    (["{file}:features", "--input", "features"], "--width"),
    (["{file}:Tagger", "--width", "8"], "width=8 is for feature models"),
    (["{file}:Tagger", "--html", "/"], "cannot write /"),
    (["{file}:Tagger", "--json", "{file}/out.json"], "cannot write"),
    (["{file}:Tagger", "--dtype", "float8"], "--dtype"),
    (["{file}:Tagger", "--seq-len", "many"], "--seq-len"),
    (["{file}:Tagger", "--vocab-size", "30", "--seq-len", "64"], "IndexError"),
]


@pytest.mark.parametrize(("words", "message"), BAD, ids=[message for _, message in BAD])
def test_what_cannot_run_exits_2_with_one_clear_line(
    words: list[str], message: str, subjects: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["model", *(word.replace("{file}", subjects) for word in words)]
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    assert code == 2, captured
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_not_a_number_everywhere_is_undetermined_and_exits_3(subjects: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", f"{subjects}:NotANumber", *QUICK]) == 3
    assert "NaN" in capsys.readouterr().out


def test_an_unwritable_output_exits_2_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main(["model", "nothing:there", "--json", str(tmp_path / "file" / "out.json")]) == 2
    assert "cannot write" in capsys.readouterr().err  # before the target was even looked for
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_what_is_no_ordinary_file_is_not_replaced_by_one(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert main(["model", f"{COUNCIL}:leaky", *QUICK, "--json", str(tmp_path / name)]) == 2
    assert not (tmp_path / name).is_file()


def test_an_output_in_a_folder_that_is_not_there_yet_is_written(tmp_path: Path) -> None:
    assert main(["model", f"{COUNCIL}:leaky", *QUICK, "--json", str(tmp_path / "new" / "out.json")]) == 1
    assert (tmp_path / "new" / "out.json").is_file()


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"hubrouter-audit {version('hubrouter-audit')}\n"


def test_a_model_that_ends_the_process_is_not_a_pass(subjects: str) -> None:
    assert main(["model", f"{subjects}:Leaves", *QUICK]) in (1, 3)


def test_no_command_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
