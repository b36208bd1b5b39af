"""The hash of the code behind a run: what changes it, and what must not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import audits.evidence.code_hash as hashing
import audits.evidence.definitions as definitions
from audits.evidence.code_hash import Node, code_behind, code_of
from audits.experiments.registry import all_experiments

PROJECT = {
    "audits/__init__.py": "",
    "audits/run.py": '''
"""What is carried out."""

import math  # a comment

from audits.loop import Counter, steps
from audits.numbers import TEN

LIMIT = 5


def execute(spec, *, scale=2.0):
    """One run."""
    import audits.probes as package
    from audits.late import late

    total = 0
    for step in steps(LIMIT):
        total += step * TEN
    found = [probe for probe in search(package, "PROBE")]
    return {"total": total * scale, "found": found, "late": late(math.pi), "count": Counter().count(3)}


def search(package, attribute):
    return [getattr(package, attribute)]


def unused():
    return "nothing reads this"
''',
    "audits/loop.py": """
from audits.numbers import HALF


def steps(limit):
    if limit > 0:
        yield from again(limit - 1)
        yield limit


def again(limit):
    return steps(limit)


class Counter:
    def count(self, limit):
        return sum(value for value in range(limit)) * HALF
""",
    "audits/numbers.py": "TEN = 10\nHALF, THIRD = 1 / 2, 1 / 3\n",
    "audits/late.py": """
from importlib.resources import files

TABLE = {}


def late(x):
    TABLE["x"] = x
    return files("audits").joinpath("data/words.txt").read_text(), TABLE


def register(function):
    TABLE[function.__name__] = function
    return function
""",
    "audits/rules.py": "from audits.late import register\n\n\n@register\ndef rule(x):\n    return x\n",
    "audits/probes/__init__.py": "",
    "audits/probes/one.py": "from audits.aside import x\nPROBE = 1\n",
    "audits/probes/two.py": "import audits.rules\nPROBE = 2\n",
    "audits/aside.py": "x = 3\n",
    "audits/data/words.txt": "a b c",
}


class Project:
    """A project of its own, whose files can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in PROJECT.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def replace(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        assert old in path.read_text(), old
        path.write_text(path.read_text().replace(old, new))

    def everywhere(self, old: str, new: str) -> None:
        """Replace a whole word in every file."""
        for path in self.folder.rglob("*.py"):
            path.write_text(re.sub(rf"\b{re.escape(old)}\b", new, path.read_text()))

    def move(self, old: str, new: str) -> None:
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(self.folder / new)

    def hash(self, module: str = "audits.run", name: str = "execute") -> str:
        forget()
        return hashing._code_hash(Node("definition", module, name), frozenset())


def forget() -> None:
    for cached in (definitions.file_of, definitions.source, hashing._code_hash, hashing._template):
        cached.cache_clear()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for module in (definitions, hashing):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    yield Project(tmp_path)
    forget()


def reorder(project: Project) -> None:
    """The definitions of a module in the opposite order, its imports too."""
    path = project.folder / "audits/loop.py"
    head, *blocks = path.read_text().split("\n\n\n")
    path.write_text("\n\n\n".join([head, *reversed(blocks)]))
    project.replace("audits/run.py", "from audits.loop import Counter, steps\nfrom audits.numbers import TEN", "XX")
    project.replace("audits/run.py", "XX", "from audits.numbers import TEN\nfrom audits.loop import steps, Counter")


def split(project: Project) -> None:
    """A class of a module in a module of its own."""
    path = project.folder / "audits/loop.py"
    rest, _, counter = path.read_text().partition("class Counter")
    path.write_text(rest.replace("from audits.numbers import HALF", ""))
    (project.folder / "audits/counting.py").write_text(f"from audits.numbers import HALF\nclass Counter{counter}")
    project.replace("audits/run.py", "from audits.loop import Counter, steps", "from audits.counting import Counter")
    project.replace("audits/run.py", "import TEN", "import TEN\nfrom audits.loop import steps")


def move_module(project: Project) -> None:
    project.move("audits/loop.py", "audits/room/looping.py")
    (project.folder / "audits/room/__init__.py").write_text("")
    project.everywhere("audits.loop", "audits.room.looping")


def pass_on(project: Project) -> None:
    """A package that re-exports, and an import from it."""
    (project.folder / "audits/api.py").write_text("from audits.loop import Counter, steps\n")
    project.replace("audits/run.py", "from audits.loop", "from audits.api")


def rename_plug_in(project: Project) -> None:
    project.move("audits/probes/one.py", "audits/probes/first.py")


def move_data(project: Project) -> None:
    project.move("audits/data/words.txt", "audits/texts/terms.txt")
    project.replace("audits/late.py", "data/words.txt", "texts/terms.txt")


UNCHANGED: dict[str, Callable[[Project], object]] = {
    "a module moves": move_module,
    "definitions and imports change places": reorder,
    "a module is split": split,
    "a name is imported from where it is passed on": pass_on,
    "a plug-in is renamed": rename_plug_in,
    "a data file moves": move_data,
    "a function is renamed": lambda p: p.everywhere("steps", "stages"),
    "a class is renamed": lambda p: p.everywhere("Counter", "Tally"),
    "a constant is renamed": lambda p: p.everywhere("TEN", "DECADE"),
    "a local variable is renamed": lambda p: p.everywhere("step", "stage"),
    "a variable of a comprehension is renamed": lambda p: p.everywhere("value", "item"),
    "a comment goes": lambda p: p.replace("audits/run.py", "# a comment", ""),
    "a docstring changes": lambda p: p.replace("audits/run.py", "One run.", "A run."),
    "what nothing reads changes": lambda p: p.replace("audits/run.py", "nothing reads", "nobody reads"),
    "an unused import comes": lambda p: p.replace("audits/run.py", "import math", "import json\nimport math"),
    "a module comes that nothing imports": lambda p: (p.folder / "audits/more.py").write_text("y = 1"),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED)
def test_names_places_and_order_change_nothing(project: Project, change: Callable[[Project], object]) -> None:
    before = project.hash()
    change(project)
    assert project.hash() == before


def test_the_function_itself_may_be_renamed(project: Project) -> None:
    before = project.hash()
    project.everywhere("execute", "carry_out")
    assert project.hash(name="carry_out") == before


CHANGED = {
    "a constant": ("audits/numbers.py", "10", "11"),
    "one of two constants of a statement": ("audits/numbers.py", "1 / 2", "1 / 5"),
    "a default": ("audits/run.py", "scale=2.0", "scale=3.0"),
    "a type of a number": ("audits/run.py", "total = 0", "total = 0.0"),
    "a local constant": ("audits/run.py", "LIMIT = 5", "LIMIT = 6"),
    "an operator": ("audits/run.py", "total +=", "total -="),
    "a text": ("audits/run.py", '"total"', '"sum"'),
    "a name of an argument": ("audits/run.py", "spec, *", "specification, *"),
    "a function in a circle": ("audits/loop.py", "steps(limit)\n\n\nclass", "steps(limit - 1)\n\n\nclass"),
    "a method": ("audits/loop.py", "sum(value", "max(value"),
    "another library's function": ("audits/run.py", "math.pi", "math.tau"),
    "a plug-in": ("audits/probes/one.py", "PROBE = 1", "PROBE = 3"),
    "what registers itself when it is imported": ("audits/rules.py", "return x", "return -x"),
    "what a function stores into": ("audits/late.py", "TABLE = {}", "TABLE = {1: 2}"),
    "a data file": ("audits/data/words.txt", "b", "x"),
}


@pytest.mark.parametrize(("file", "old", "new"), CHANGED.values(), ids=CHANGED)
def test_every_change_of_the_code_changes_the_hash(project: Project, file: str, old: str, new: str) -> None:
    before = project.hash()
    project.replace(file, old, new)
    assert project.hash() != before


def test_a_new_plug_in_changes_the_hash(project: Project) -> None:
    before = project.hash()
    (project.folder / "audits/probes/three.py").write_text("PROBE = 1\n")
    assert project.hash() != before


def test_plug_ins_that_trade_places_change_the_hash(project: Project) -> None:
    before = project.hash()
    project.move("audits/probes/one.py", "audits/probes/zero.py")
    project.move("audits/probes/two.py", "audits/probes/one.py")
    project.move("audits/probes/zero.py", "audits/probes/two.py")
    assert project.hash() != before


def test_modules_that_are_looked_up_by_name_count_with_their_names(project: Project) -> None:
    project.replace("audits/run.py", "[getattr(package, attribute)]", "import_module(attribute)")
    project.replace("audits/run.py", 'search(package, "PROBE")', 'search(package, f"{package.__name__}.one")')
    before = project.hash()
    rename_plug_in(project)
    assert project.hash() != before


def test_the_dotted_name_of_a_module_stands_for_the_module(project: Project) -> None:
    project.replace("audits/run.py", "LIMIT = 5", 'LIMIT = {"a": "audits.aside"}')
    before = project.hash()
    project.replace("audits/aside.py", "3", "4")
    assert project.hash() != before


def test_a_local_name_hides_a_definition_of_that_name(project: Project) -> None:
    project.replace("audits/run.py", "return [getattr(package, attribute)]", "unused = 1\n    return [unused]")
    before = project.hash()
    project.replace("audits/run.py", "nothing reads this", "still nothing")
    assert project.hash() == before


def test_a_comprehension_hides_a_definition_inside_it_alone(project: Project) -> None:
    project.replace("audits/run.py", "return [getattr(package, attribute)]", "return [unused for unused in unused()]")
    before = project.hash()
    project.replace("audits/run.py", "nothing reads this", "it is read")
    assert project.hash() != before


def test_a_module_that_is_not_hashed_may_change(project: Project) -> None:
    root = Node("definition", "audits.run", "execute")
    forget()
    before = hashing._code_hash(root, frozenset({"audits.loop"}))
    project.replace("audits/loop.py", "sum(value", "max(value")
    forget()
    assert hashing._code_hash(root, frozenset({"audits.loop"})) == before


def test_a_module_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"audits.nowhere, which is no module"):
        code_behind(Project, ["audits.nowhere"])


def test_a_function_of_another_project_counts_by_its_name_alone() -> None:
    assert code_behind(re.compile) == code_behind(re.compile) != code_behind(re.escape)


def test_the_hashes_of_all_experiments_do_not_depend_on_the_order_of_sets() -> None:
    code = (
        "from audits.evidence.code_hash import code_of; from audits.experiments.registry import all_experiments; "
        "print([code_of(experiment) for experiment in all_experiments()])"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {f"{[code_of(experiment) for experiment in all_experiments()]}\n"}
