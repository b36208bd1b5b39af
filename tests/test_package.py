"""What is released: the wheel by itself in another folder, the sdist, and the page that a package index shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import audits
from audits.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LARGEST = 600_000  # bytes of the wheel
BASE = {"numpy", "rich", "torch"}
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

# An editable installation of this project would find what the wheel lacks.
editable = [finder for finder in sys.meta_path if getattr(finder, "__module__", "").startswith("__editable__")]
sys.meta_path[:] = [Blocked(), *(finder for finder in sys.meta_path if finder not in editable)]
"""
TOY = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))
"""


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower()


EXTRAS = PROJECT["project"]["optional-dependencies"]
BLOCKED_NAMES = {name_of(needed) for extra in ("claims", "survey") for needed in EXTRAS[extra]} - {"jinja2", "networkx"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built by the backend without a network."""
    pytest.importorskip("hatch_fancy_pypi_readme")
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("wheel", "sdist"):
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, as an installation lays them, beside a target; what extras bring cannot be imported."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (folder / "toy.py").write_text(TOY)
    (folder / "sitecustomize.py").write_text(BLOCKED.format(names=BLOCKED_NAMES))
    return folder


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST


def test_the_wheel_audits_with_the_base_install_alone(installed: Path) -> None:
    small = ("toy.py:make", "--seq-len", "6")
    done = run(installed, "audits", "model", *small, "--html", "audit.html", "--sarif", "a.sarif")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(installed, "audits", "bet", *small, "--steps", "3", "--html", "bet.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((installed / name).stat().st_size for name in ("audit.html", "a.sarif", "bet.html"))


def test_the_wheel_brings_the_plugin(installed: Path) -> None:
    subject = ("--causality-subject", "toy.py:make", "--causality-seq-len", "6")
    done = run(installed, "pytest", "-p", "no:cacheprovider", "-k", "gradient", *subject)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("command", "extra"), [("claims", "claims"), ("survey packages", "survey"), ("peers", "claims,peers")]
)
def test_a_command_that_needs_the_repository_says_so_in_a_line(installed: Path, command: str, extra: str) -> None:
    done = run(installed, "audits", *command.split())
    clone = f"git clone {PROJECT['project']['urls']['Homepage']}"
    needed = f'needs the repository: {clone} && pip install -e "hubrouter-audit[{extra}]"\n'
    assert (done.returncode, done.stderr) == (2, f"hubrouter-audit: {command.split()[0]} {needed}")


def test_a_command_that_lacks_a_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "audits.cli.leaks", None)
    assert main(["leaks"]) == 2
    assert capsys.readouterr().err.endswith(': pip install "hubrouter-audit[claims]"\n')


def test_the_base_install_is_what_audits_need() -> None:
    assert {name_of(needed) for needed in PROJECT["project"]["dependencies"]} == BASE


def test_the_page_on_an_index_has_absolute_links_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        metadata = message_from_bytes(archive.read(name))
    text = str(metadata.get_payload())
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    assert len(links) > 10
    assert [link for pair in links for link in pair if link and not link.startswith(("https://", "#"))] == []
    assert metadata["Version"] == audits.__version__
    assert "https://github.com/hubrouter-audit/hubrouter-audit/blob/main/docs/protocol.md" in text


def test_the_sdist_holds_what_the_jobs_need(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "noxfile.py",
        "mkdocs.yml",
        "constraints.txt",
        "leak_probes/cases.py",
        "tests/conftest.py",
        "docs/protocol.md",
    }
    assert needed <= names
    assert "hubrouter/diagnostic/data/hotpot_small.json" in names  # what the wheel leaves out
    assert not any(name.startswith(("reports/", ".git/")) for name in names)


def test_what_ci_installs_by_hash_is_what_the_constraints_say_and_all_that_the_tests_need() -> None:
    entries = re.findall(r"^([\w.-]+)==(\S+)((?:.*\\\n)+ .*)", (ROOT / "requirements-ci.txt").read_text(), re.MULTILINE)
    assert all("--hash=sha256:" in hashes for _, _, hashes in entries)
    hashed = {name: version for name, version, _ in entries}
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert all(pinned.get(name, version) == version for name, version in hashed.items())
    needed = {name_of(each) for extra in ("claims", "cluster", "test", "lint") for each in EXTRAS[extra]} | BASE
    assert needed - hashed.keys() == {"torch"}
