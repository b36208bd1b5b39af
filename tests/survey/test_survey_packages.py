"""Packages by a pinned table: installed whole or not at all, in folders and processes that no two versions share."""

from __future__ import annotations

import textwrap
from pathlib import Path
from zipfile import ZipFile

import pytest
from rich.console import Console

from audits.evidence.experiment import Options
from audits.evidence.ledger import Ledger
from audits.evidence.runner import gather
from audits.subject.settings import Settings
from audits.survey import run
from audits.survey.libraries import packages
from audits.survey.libraries.packages import installed
from audits.survey.library import Architecture, NotBuiltError

CAUSAL, LEAKY = "hidden.cumsum(1)", "hidden + hidden.flip(1)"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Packages come from a folder, and are installed into another one."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("HUBROUTER_AUDIT_CACHE", str(tmp_path / "cache"))


def offer(folder: Path, release: str, mixed: str) -> None:
    """A wheel of the package `shelf` whose model mixes positions in this way."""
    code = f"""
        from torch import nn
        class Model(nn.Module):
            def __init__(self, tokens, width=8, *, part=None):
                super().__init__()
                self.embedding, self.head, self.part = nn.Embedding(tokens, width), nn.Linear(width, tokens), part
            def forward(self, tokens, scale=1.0):
                hidden = self.embedding(tokens)
                return scale * self.head({mixed})
        def leave(tokens, width):
            raise SystemExit("no kernel")
        """
    name = f"shelf-{release}"
    with ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("shelf.py", textwrap.dedent(code))
        wheel.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: shelf\nVersion: {release}\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")


def table(**rows: object) -> dict[str, object]:
    return {"edition": "2026.1", "packages": rows}


def use(monkeypatch: pytest.MonkeyPatch, **rows: object) -> None:
    monkeypatch.setattr(packages, "_table", lambda: table(**rows))


SHELF = {"requirements": ["shelf==1.0"], "model": {"class": "shelf:Model", "args": [64], "width": 8}}


def test_every_row_and_variant_is_pinned_described_in_full_and_brings_no_torch() -> None:
    found = packages.architectures()
    assert len({architecture.package for architecture in found}) >= 31
    for architecture in found:
        recipe = packages.recipe(architecture)
        assert all(requirement.count("==") == 1 for requirement in recipe["requirements"]), architecture.name
        assert not any(requirement.startswith("torch==") for requirement in recipe["requirements"])
        assert architecture.model
        assert architecture.package == recipe["requirements"][0]


def test_a_variant_is_what_differs_from_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, shelf=SHELF | {"variants": {"wide": {"model": {"width": 16}, "call": {"scale": 2.0}}}})
    plain, wide = packages.architectures()
    assert (plain.name, wide.name, wide.model, wide.package) == ("shelf", "shelf+wide", "Model", "shelf==1.0")
    assert packages.recipe(plain)["model"] == SHELF["model"]
    assert packages.recipe(wide)["model"] == {"class": "shelf:Model", "args": [64], "width": 16}
    assert packages.recipe(wide)["call"] == {"scale": 2.0}


def test_an_unknown_key_in_the_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, shelf=SHELF | {"widht": 8})
    with pytest.raises(ValueError, match="widht"):
        packages.architectures()


def test_a_package_is_installed_once_into_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, "1.0", CAUSAL)
    folder = installed(["shelf==1.0"])
    assert folder.is_relative_to(tmp_path / "cache" / "packages")
    assert {path.name for path in folder.iterdir()} >= {"shelf.py", "shelf-1.0.dist-info"}
    monkeypatch.setattr(packages, "_install", lambda requirements, folder: pytest.fail("installed twice"))
    assert installed(["shelf==1.0"]) == folder


def test_other_requirements_of_the_same_release_get_another_folder(tmp_path: Path) -> None:
    offer(tmp_path, "1.0", CAUSAL)
    assert installed(["shelf==1.0"]) != installed(["shelf==1.0", "shelf"])


def test_an_interrupted_installation_is_never_taken_for_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(requirements: object, folder: Path) -> None:
        folder.mkdir()
        (folder / "shelf.py").write_text("half")
        raise KeyboardInterrupt

    offer(tmp_path, "1.0", CAUSAL)
    with monkeypatch.context() as patch:
        patch.setattr(packages, "_install", half)
        with pytest.raises(KeyboardInterrupt):
            installed(["shelf==1.0"])
    assert "class Model" in (installed(["shelf==1.0"]) / "shelf.py").read_text()


def test_of_two_processes_that_install_the_same_both_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, "1.0", CAUSAL)
    install = packages._install

    def overtaken(requirements: list[str], folder: Path) -> None:
        monkeypatch.setattr(packages, "_install", install)
        installed(requirements)
        install(requirements, folder)

    monkeypatch.setattr(packages, "_install", overtaken)
    folder = installed(["shelf==1.0"])
    assert [path.name for path in folder.parent.iterdir()] == ["site-packages"]


def test_what_pip_cannot_install_is_said_in_one_line() -> None:
    with pytest.raises(
        NotBuiltError, match=r"cannot be installed: No matching distribution found for shelf==9\.9"
    ) as e:
        installed(["shelf==9.9"])
    assert "\n" not in str(e.value)


def test_parts_are_built_first_lists_become_tuples_and_arguments_of_the_forward_pass_are_given() -> None:
    described = {"class": "collections:OrderedDict", "args": [[["a", {"class": "builtins:complex", "args": [1, 2]}]]]}
    assert packages._object(described) == {"a": 1 + 2j}
    assert packages._object({"kept": [1, [2]]}) == {"kept": (1, (2,))}
    assert packages.Called(lambda inputs, scale: inputs * scale, {"scale": 3})(2) == 6  # type: ignore[arg-type]


def test_two_releases_of_a_package_do_not_meet_and_what_cannot_be_built_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(tmp_path, "1.0", CAUSAL)
    offer(tmp_path, "2.0", LEAKY)
    use(
        monkeypatch,
        new=SHELF | {"requirements": ["shelf==2.0"]},
        nowhere=SHELF | {"requirements": ["shelf==9.9"]},
        old=SHELF | {"variants": {"exit": {"model": {"class": "shelf:leave"}}, "call": {"call": {"scale": 0.5}}}},
    )
    fed = Settings(seq_len=12, batch=4)
    made = run.experiment(packages.LIBRARY, packages.architectures(), fed, seconds=120, memory=2**33)
    found = gather([made], Options(), Ledger(tmp_path / "ledger"), workers=1, console=Console(quiet=True)).evidence
    results = {record.config["name"]: record.result for record in found.records}
    assert {name: result["verdict"] for name, result in results.items()} == {
        "new": "LEAK",
        "nowhere": "NOT_BUILT",
        "old": "PASS",
        "old+call": "PASS",
        "old+exit": "NOT_BUILT",
    }
    assert results["old+exit"]["reason"] == "SystemExit: no kernel"
    assert results["new"]["findings"][0]["file"] == "shelf.py"
    assert {record.config["package"] for record in found.records} == {"shelf==1.0", "shelf==2.0", "shelf==9.9"}
    assert gather([made], Options(), Ledger(tmp_path / "ledger"), console=Console(quiet=True)).evidence == found


def test_an_architecture_of_the_library_itself_names_no_package() -> None:
    chosen = (Architecture("linformer", "LinformerLM"),)
    made = run.experiment(packages.LIBRARY, chosen, Settings(seq_len=8, batch=1), seconds=1, memory=1)
    assert "package" not in made.runs(Options())[0].config
