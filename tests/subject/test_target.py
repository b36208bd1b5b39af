"""A target on the command line is found, built, or refused in one clear line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from audits.subject.settings import SubjectError
from audits.subject.target import load_target

SOURCE = """
from torch import nn
model = nn.Linear(2, 2)
number = 3
class Model(nn.Linear):
    def __init__(self, size=2): super().__init__(size, size)
class Needy(nn.Module):
    def __init__(self, size): super().__init__()
class Box: inner = nn.Identity()
def factory(): return nn.Linear(3, 3)
def broken(): raise ValueError("no weights here")
def pointless(): return 7
def plain(x): return x
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "some_models.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "kind"), [("model", nn.Linear), ("Model", nn.Linear), ("factory", nn.Linear), ("Box.inner", nn.Identity)]
)
def test_instances_classes_factories_and_nested_names_give_a_module(path, name, kind):
    assert isinstance(load_target(f"{path}:{name}"), kind)


def test_a_function_of_inputs_is_taken_as_the_model(path):
    assert load_target(f"{path}:plain")(5) == 5


def test_a_dotted_package_is_imported():
    assert isinstance(load_target("audits.leaks.same_padding:leaky"), nn.Module)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "must look like"),
        (":model", "must look like"),
        ("no_such_package:model", "is it installed"),
        ("no/such/file.py:model", "there is no file"),
        ("{path}:absent", "has no attribute 'absent'; it has"),
        ("{path}:number", "is a int, not a module"),
        ("{path}:Needy", "needs size: name a zero-argument factory"),
        ("{path}:broken", "calling the factory raised ValueError: no weights here"),
        ("{path}:pointless", "the factory returned a int"),
    ],
)
def test_a_bad_target_is_one_line_that_says_how_to_mend_it(path, target, message):
    with pytest.raises(SubjectError) as caught:
        load_target(target.format(path=path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_fails_on_import_is_one_line(tmp_path):
    file = tmp_path / "fails_on_import.py"
    file.write_text("import sys\nsys.exit('never mind')\n", encoding="utf-8")
    with pytest.raises(SubjectError, match="importing it raised SystemExit: never mind"):
        load_target(f"{file}:model")


def test_two_files_of_one_name_do_not_get_in_each_others_way(tmp_path):
    loaded = []
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "twins_by_name.py"
        source = (
            f"import dataclasses\n@dataclasses.dataclass\nclass Box:\n    x: int = {value}\ndef f(x): return Box().x\n"
        )
        file.write_text(source, encoding="utf-8")
        loaded.append(load_target(f"{file}:f"))
    assert [f(None) for f in loaded] == [1, 2]


def test_a_file_called_like_a_library_does_not_replace_it(tmp_path):
    (tmp_path / "torch.py").write_text("def f(x): return x\n", encoding="utf-8")
    load_target(f"{tmp_path / 'torch.py'}:f")
    assert sys.modules["torch"] is torch
