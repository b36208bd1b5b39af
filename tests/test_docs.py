"""The documentation does what it says: its Python runs, its commands exist, its workflow is one."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
import yaml
from torch import nn

import audits
import audits.betting
import hubrouter
from audits.__main__ import _parser, main
from audits.cli._commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("leak_probes/*.md")}
    | {page for folder in ("hubrouter", "tests") for page in (ROOT / folder).rglob("*.md")}
)
GUIDE = ROOT / "docs" / "auditing-your-model.md"


class Causal(nn.Module):
    """A running sum: stands for the reader's model wherever a page speaks of one."""

    def __init__(self, dim: int = 8, vocab_size: int | None = 100) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim) if vocab_size else nn.Identity()
        self.head = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.embedding(x).cumsum(1))
        return y


def fences(language: str, pages: list[Path] = PAGES) -> list[tuple[Path, str]]:
    """Every fenced block of a language, with its page."""
    pattern = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
    blocks = [(page, *found) for page in pages for found in pattern.findall(page.read_text(encoding="utf-8"))]
    return [(page, text) for page, name, text in blocks if name == language]


# Tests that take a fixture or a parameter are run by pytest: below, and in test_tutorial.py.
PYTHON = [(page, text) for page, text in fences("python") if not re.search(r"^def test_\w+\(\w", text, re.MULTILINE)]


@pytest.mark.parametrize(("page", "text"), PYTHON, ids=[f"{page.name}-{i}" for i, (page, _) in enumerate(PYTHON)])
def test_every_python_block_runs_and_prints_what_the_page_shows(
    page: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"my_model": Causal(), "MyMixer": lambda dim: Causal(dim, None)}
    try:
        exec(compile(text, str(page), "exec"), names)
    except ModuleNotFoundError as missing:
        if "`pip install --no-deps " not in page.read_text(encoding="utf-8"):
            raise
        pytest.skip(f"{page.name} says how to install {missing.name}, which is not part of the tests")
    for name, found in list(names.items()):
        if name.startswith("test_"):
            found()
    shown = re.search(
        re.escape(text) + r"```\n\nprints[^`]*```text\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
    )
    assert shown is None or without_numbers(shown[1]) == without_numbers(capsys.readouterr().out)


def without_numbers(text: str) -> str:
    """What another machine or release prints too."""
    return words(re.sub(r"\d[\d.]*(e-\d+)?", "#", text))


MODELS = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(100, 8), nn.Linear(8, 100)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))

class Forgetful(Tagger):  # of all pieces of a stream but the last
    def stream(self, tokens, state=None):
        return self(tokens), 0

class MyMixer(nn.Linear):
    def __init__(self, dim):
        super().__init__(dim, dim)

build_mixer, build_block = Tagger, Forgetful
"""


def test_the_tests_of_the_guide_run_in_pytest(tmp_path: Path) -> None:
    (test,) = [text for _, text in fences("python", [GUIDE]) if "(causality)" in text]
    (tmp_path / "test_guide.py").write_text(MODELS + test)
    command = [sys.executable, "-m", "pytest", "-p", "audits.testing.plugin", "-p", "no:cacheprovider", "-W", "error"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=one_thread, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert " 1 xfailed" in run.stdout


def test_the_command_of_the_cookbook_passes_its_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cookbook = [ROOT / "docs" / "cookbook.md"]
    (source,) = [text for _, text in fences("python", cookbook) if "class Translator" in text]
    (tmp_path / "my_models.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    ((_, line),) = fences("sh", cookbook)
    assert main([*shlex.split(line)[1:], "--seq-len", "24", "--preset", "quick"]) == 0


SHELL = fences("sh")


@pytest.mark.parametrize(("page", "text"), SHELL, ids=[f"{page.name}-{i}" for i, (page, _) in enumerate(SHELL)])
def test_every_line_of_a_shell_block_is_one_that_its_program_takes(page: Path, text: str) -> None:
    """Most of them train, download or need a cluster, so that they are read and not run."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in re.split(r"\n|&&", text):
        program, *words = shlex.split(line, comments=True) or [""]
        if Path(program).name == "hubrouter-audit":
            _parser().parse_args(words)
        elif words[:1] == ["-m"]:
            assert importlib.util.find_spec(words[1])
        else:
            assert Path(program).name in ("nox", "pip", "")
        named = re.findall(r"(?:hubrouter-audit|\.)\[([\w,]+)\]", line)
        assert {extra for names in named for extra in names.split(",")} <= set(extras)


def test_the_row_of_the_survey_is_part_of_its_table() -> None:
    ((_, text),) = fences("toml")
    table = tomllib.loads((ROOT / "audits" / "survey" / "packages.toml").read_text())
    assert within(tomllib.loads(text), table)
    assert not within({"packages": {"local-attention": {"requirements": []}}}, table)


def within(shown: Any, whole: Any) -> bool:
    """Whether a table holds all that is shown of it."""
    if not isinstance(shown, dict):
        return bool(shown == whole)
    return all(key in whole and within(value, whole[key]) for key, value in shown.items())


def test_no_block_of_a_page_is_of_a_kind_that_no_test_reads() -> None:
    """Those of kind text are outputs: the tutorial's are compared in test_tutorial.py, those of findings above."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    kinds = {kind for text in texts for kind in re.findall(r"^```(\w*)$", text, re.MULTILINE)}
    assert kinds == {"", "diff", "python", "sh", "text", "toml", "yaml"}
    assert [page for page, _ in fences("")] == [ROOT / "tests" / "report" / "data" / "README.md"]
    assert {page.parent.name for page, _ in fences("text")} == {"docs", "findings"}


def commands(text: str) -> Iterator[list[str]]:
    """The words after every `hubrouter-audit` of a page, up to the end of its line or code span."""
    for match in re.finditer(r"hubrouter-audit ([^`\n|]*)", text):
        yield match.group(1).split("#")[0].split()


def options() -> dict[str, set[str]]:
    """Every command with its options, and the options that need no command, as commands."""
    parser = _parser()
    actions = parser._subparsers._group_actions  # type: ignore[union-attr]
    (choices,) = [action.choices for action in actions if isinstance(action, argparse._SubParsersAction)]
    found = {name: set(command._option_string_actions) for name, command in choices.items()}
    return found | {option: {option} for option in parser._option_string_actions}


def unknown(text: str, known: dict[str, set[str]]) -> list[str]:
    """Commands and options that a text speaks of and that do not exist."""
    found = []
    for words in commands(text):
        if words and words[0] not in known:
            found.append(words[0])
        found += [word for word in words if word.startswith("--") and word not in known.get(words[0], ())]
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_command_and_session_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert unknown(text, options()) == []
    spoken = [re.split(r"[\s`]+--\s", words)[0].split() for words in re.findall(r"nox -s ([a-z][a-z ]*)", text)]
    sessions = {node.name for node in ast.parse((ROOT / "noxfile.py").read_text()).body if hasattr(node, "name")}
    assert {words[0] for words in spoken} <= sessions


def anchors(page: Path) -> set[str]:
    """The anchors that code hosts give to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page to a file or heading that does not exist."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            found.append(link)
    return found


def unknown_paths(text: str) -> list[str]:
    """Files of this project that a text names and that do not exist; of a name with a placeholder, the folder."""
    pattern = r"(?<![\w./-])((?:audits|docs|hubrouter|leak_probes|reports|tests)/[\w./-]*)(<?)"
    paths = [path.rpartition("/")[0] if cut else path.rstrip(".") for path, cut in re.findall(pattern, text)]
    # What a run writes is not there before it.
    return [path for path in paths if not (ROOT / path).exists() and not path.startswith("reports/local")]


def unknown_names(text: str) -> list[str]:
    """Dotted names of this project that a text names and that cannot be imported."""
    return [name for name in re.findall(r"(?<![\w./-])(?:audits|hubrouter)(?:\.\w+)+", text) if not exists(name)]


def exists(name: str) -> bool:
    """Whether there is such a name, or such a module: one for a library that is not installed cannot be imported."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        try:
            return importlib.util.find_spec(name) is not None
        except ImportError:
            return False
    return True


@cache
def classes() -> set[str]:
    """The names of all classes of this project."""
    files = [file for folder in ("audits", "hubrouter") for file in (ROOT / folder).rglob("*.py")]
    return {
        name for file in files for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }


def unknown_classes(text: str) -> list[str]:
    """Classes that a code span of a text makes an object of and that this project does not have."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [name for span in spans for name in re.findall(r"\b([A-Z][a-z]\w*)\(", span) if name not in classes()]


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_every_link_path_and_name_on_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.parent.name != "findings":  # those speak of other libraries
        assert unknown_classes(text) == []
    assert broken_links(page, text) == []
    assert unknown_paths(text) == []
    assert unknown_names(text) == []


def test_a_link_a_path_and_a_name_that_do_not_exist_are_seen() -> None:
    links = "[a](docs/evidence.md#stale-records) [b](docs/none.md) [c](docs/evidence.md#none) [d](https://e.org/f)"
    assert broken_links(ROOT / "README.md", links) == ["docs/none.md", "docs/evidence.md#none"]
    assert unknown_paths("`audits/leaks/<name>.py`, `audits/none.py`, see audits/results.py.") == ["audits/none.py"]
    assert unknown_classes("`Probe(name)` and `Prob(name)`") == ["Prob"]
    assert unknown_names("`audits.audit`, `audits.none`, `audits.leaks.needle:leaky`") == ["audits.none"]


def site_hook() -> Any:
    """The module that makes a site of the pages."""
    found = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "_site.py")
    assert found is not None
    module = importlib.util.module_from_spec(found)
    assert found.loader is not None
    found.loader.exec_module(module)
    return module


def test_the_site_links_to_the_repository_where_a_link_leaves_the_pages() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="findings/README.md"))
    text = site_hook().on_page_markdown("[a](../survey.md) [b](../../reports/README.md#x)", page)
    home = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    assert text == f"[a](../survey.md) [b]({home}/blob/main/reports/README.md#x)"


def test_the_first_page_links_to_every_other() -> None:
    first = ROOT / "docs" / "README.md"
    linked = {
        (first.parent / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", first.read_text(encoding="utf-8"))
    }
    assert {*first.parent.glob("*.md"), *first.parent.glob("reference/*.md")} - linked == {first}


def test_the_reference_has_every_command_and_every_public_name() -> None:
    reference = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")}
    asked = re.findall(r"^## (\w+)\n\n.*\n\n<!-- help: \1 -->$", reference["command-line"], re.MULTILINE)
    assert sorted(asked) == sorted(COMMANDS)
    assert "--preset {thorough,quick}" in " ".join(site_hook().command_help("model").split())
    for package, page in ((audits, "audits"), (audits.betting, "betting"), (hubrouter, "hubrouter")):
        assert [name for name in package.__all__ if f"{package.__name__}.{name}" not in reference[page]] == []


def test_every_file_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    names = [name for name in re.findall(r"`([\w./]+)`", text) if re.search(r"/|\.(py|toml)$", name)]
    assert "cli/model.py" in names
    assert [name for name in names if not (ROOT / name).exists() and not list(ROOT.glob(f"audits/**/{name}"))] == []


def test_the_architecture_lists_every_room_and_the_lines_of_the_contract() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {f"{path.name}/" for path in (ROOT / "audits").iterdir() if (path / "__init__.py").is_file()}
    assert rooms <= set(re.findall(r"`([\w.]+/?)`", text.split("## Import direction")[0]))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    assert "".join(f"    {layer}\n" for layer in layers) in text


def test_the_changelog_and_the_citation_name_the_released_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    released = re.findall(r"^## \[([0-9.]+)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], str(citation["date-released"])) == released[0]
    assert (citation["version"], citation["license"]) == (audits.__version__, project["license"])
    assert citation["authors"] == project["authors"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "type"} <= set(citation)


def test_a_command_that_does_not_exist_is_seen() -> None:
    known = {"model": {"--json"}}
    assert unknown("`hubrouter-audit model x --json f`", known) == []
    assert unknown("`hubrouter-audit modle x`", known) == ["modle"]
    assert unknown("run hubrouter-audit model x --jason f", known) == ["--jason"]


def test_the_audit_prints_what_the_picture_on_the_first_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (picture,) = re.findall(r"!\[[^\]]*\]\((.*?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    lines: dict[str, str] = {}
    for text in ElementTree.parse(ROOT / picture).iter("{http://www.w3.org/2000/svg}text"):
        lines[text.get("y", "")] = lines.get(text.get("y", ""), "") + f" {text.text}"
    command, *shown = (line for line in map(words, lines.values()) if line not in ("", "hubrouter-audit"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*shlex.split(command)[2:], "--probes", "perturbation,provenance,training-mode"]) == 1
    printed = words(capsys.readouterr().out)
    assert len(shown) > 8
    assert [part for line in shown for part in line.split("…") if part.strip(" ,).") not in printed] == []


def words(text: str) -> str:
    """The text with one space for any white space."""
    return " ".join(text.split())


def workflow() -> dict[str, Any]:
    (text,) = [text for _, text in fences("yaml", [GUIDE])]
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_the_workflow_uploads_whatever_the_audit_says_and_may() -> None:
    document = workflow()
    assert document["permissions"]["security-events"] == "write"
    steps = document["jobs"]["audit"]["steps"]
    (audit,) = [words for step in steps if "run" in step and (words := shlex.split(step["run"]))[0] != "python"]
    after = steps[[step.get("run", "").startswith("hubrouter-audit") for step in steps].index(True) + 1 :]
    assert {step["if"] for step in after} == {"always()"}
    (upload,) = [step for step in after if "upload-sarif" in step["uses"]]
    assert audit[audit.index("--sarif") + 1] == upload["with"]["sarif_file"]


def test_the_workflow_installs_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (install,) = [step["run"] for step in workflow()["jobs"]["audit"]["steps"] if "pip install" in step.get("run", "")]
    assert install.endswith(f' "{project["name"]}=={audits.__version__}"')


LEAKY = """
import torch
from torch import nn

class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 8), nn.Linear(8, 20)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1)) {leak}

def factory():
    return Tagger()
"""


@pytest.mark.parametrize(("leak", "code"), [("", 0), ("+ self.embedding(tokens).mean((1, 2), keepdim=True)", 1)])
def test_the_workflows_command_runs_and_leaves_every_file(
    leak: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"my_package_{code}"  # a module once imported stays imported
    (tmp_path / package).mkdir()
    (tmp_path / package / "models.py").write_text(LEAKY.format(leak=leak))
    monkeypatch.chdir(tmp_path)
    (line,) = [step["run"] for step in workflow()["jobs"]["audit"]["steps"] if "hubrouter-audit model" in str(step)]
    words = shlex.split(line.replace("my_package", package))
    assert main(words[1:]) == code
    files = [word for option, word in pairwise(words) if option.startswith("--")][1:]
    assert len(files) == 5
    assert all((tmp_path / file).stat().st_size for file in files)
    results = json.loads((tmp_path / "causality.sarif").read_text())["runs"][0]["results"]
    assert [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results] == [
        f"{package}/models.py"
    ] * len(results)
    assert bool(results) == bool(code)


def test_the_model_of_the_guide_passes_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(text for _, text in fences("python", [GUIDE]) if text.startswith("# my_llama.py"))
    (tmp_path / "my_llama.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    (line,) = [text for _, text in fences("sh", [GUIDE]) if "my_llama.py:tiny" in text]
    assert main(shlex.split(line)[1:]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["verdict"] == "PASS"
