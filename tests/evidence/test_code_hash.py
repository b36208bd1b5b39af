"""The hash of the code behind a run: what changes it, and what must not."""

import ast
from pathlib import Path

import pytest

from audits.evidence import code_hash as module
from audits.evidence.code_hash import code_hash, modules_behind

SOURCE = '''
"""A docstring."""
import math  # a comment


def area(radius: float) -> float:
    """Another."""
    return math.pi * radius**2
'''


def written(text: str) -> str:
    return "".join(module._written(ast.parse(text)))


@pytest.mark.parametrize(
    ("old", "new"),
    [("Another.", "Something else."), ("# a comment", ""), ("\n\n\ndef", "\n\ndef"), ('"""A docstring."""', "")],
)
def test_comments_docstrings_and_layout_change_nothing(old: str, new: str) -> None:
    assert old in SOURCE
    assert written(SOURCE.replace(old, new)) == written(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"), [("**2", "**3"), ("radius: float", "radius: int"), ("math.pi", "math.tau"), ("2\n", "2.0\n")]
)
def test_every_change_of_the_code_changes_the_tree(old: str, new: str) -> None:
    assert old in SOURCE
    assert written(SOURCE.replace(old, new)) != written(SOURCE)


def test_a_string_that_is_no_docstring_counts() -> None:
    assert written("x = 'a'") != written("x = 'b'")
    assert written("def f():\n    x = 1\n    'a'") != written("def f():\n    x = 1\n    'b'")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, whose modules can be changed."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    files = {
        "audits/__init__.py": "from audits import everything",
        "audits/everything.py": "",
        "audits/run.py": "import audits.probes as package\nfrom audits.loop import f\ndef g():\n    import audits.late",
        "audits/loop.py": "from audits import numbers\nimport torch",
        "audits/numbers.py": "TEN = 10",
        "audits/late.py": "",
        "audits/aside.py": "",
        "audits/probes/__init__.py": "",
        "audits/probes/one.py": "from audits.aside import x",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    fresh()
    yield tmp_path
    fresh()


def fresh() -> None:
    module._source.cache_clear()
    module._closure.cache_clear()


def test_everything_that_is_imported_is_behind_a_run_and_nothing_else(project: Path) -> None:
    behind = ("late", "loop", "numbers", "probes", "probes.one", "run")
    assert modules_behind(["audits.run"]) == ("audits.aside", *(f"audits.{name}" for name in behind))
    assert modules_behind(["audits.run"], ["audits.loop"]) == (
        "audits.aside", "audits.late", "audits.probes", "audits.probes.one", "audits.run",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("file", "stale"), [("numbers", True), ("late", True), ("probes/one", True), ("everything", False)]
)
def test_a_change_behind_the_run_changes_its_hash(project: Path, file: str, stale: bool) -> None:
    before = code_hash(["audits.run"])
    (project / f"audits/{file}.py").write_text("CHANGED = 1")
    fresh()
    assert (code_hash(["audits.run"]) != before) == stale


def test_a_new_module_in_a_searched_folder_changes_the_hash(project: Path) -> None:
    before = code_hash(["audits.run"])
    (project / "audits/probes/two.py").write_text("")
    fresh()
    assert code_hash(["audits.run"]) != before


def test_a_module_of_another_project_counts_by_its_name_alone() -> None:
    assert code_hash(["json"]) == code_hash(["json"]) != code_hash(["csv"])
