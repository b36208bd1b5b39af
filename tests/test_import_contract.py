"""The contract on who imports whom (pyproject.toml): kept by the project, broken by one import that it forbids."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
FORBIDDEN = [
    ("audits/subject/subject.py", "import audits.probes.decode", "a room imports its own line or those below"),
    (
        "audits/instruments/locate.py",
        "def f():\n    import audits.report.write",
        "a room imports its own line or those",
    ),
    ("audits/experiments/registry.py", "from audits.claims import claim", "a room imports its own line or those below"),
    ("audits/loose.py", "", "a room imports its own line or those below"),
    ("hubrouter/encode.py", "from audits.results import Verdict", "hubrouter knows nothing of audits"),
    ("audits/probes/decode.py", "import hubrouter.router", "the auditor does not know the defendant"),
    ("audits/auditor/audit.py", "def f():\n    from hubrouter import HubRouter", "does not know the defendant"),
    ("audits/report/claims/page.py", "import hubrouter", "the auditor does not know the defendant"),
    ("audits/probes/decode.py", "from audits.probes.gradient import run", "no probe knows another"),
    ("audits/probes/decode.py", "from audits.probes import gradient", "no probe knows another"),
    ("audits/probes/decode.py", "from . import gradient", "no probe knows another"),
    ("audits/statistics/t_test.py", "from torch import Tensor", "statistics know no torch"),
]
ALLOWED = [
    ("audits/experiments/bench/layer_cost.py", "import hubrouter.scan\nimport audits.auditor.audit"),
    ("audits/claims/tool/auditor_power.py", "import hubrouter\nimport audits.experiments.registry"),
    ("audits/auditor/audit.py", "def f():\n    import audits.probes.decode\n    import audits.betting.run"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the packages, whose files can be changed."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("audits", "hubrouter"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    """The exit code, and the contracts with their outcomes."""
    done = subprocess.run([sys.executable, "-c", LINT], capture_output=True, text=True, cwd=folder, timeout=60)
    return done.returncode, done.stdout + done.stderr


def add(project: Path, path: str, code: str) -> None:
    with (project / path).open("a") as file:
        file.write(f"\n{code}\n")


def test_the_contract_is_kept() -> None:
    code, said = lint(ROOT)
    assert (code, "0 broken" in said) == (0, True), said


@pytest.mark.parametrize(("path", "code", "contract"), FORBIDDEN)
def test_a_forbidden_import_breaks_the_contract_that_forbids_it(
    project: Path, path: str, code: str, contract: str
) -> None:
    add(project, path, code)
    status, said = lint(project)
    broken = [line for line in said.splitlines() if line.endswith("BROKEN")]
    assert status == 1, said
    assert any(contract in line for line in broken), said
    assert path.removesuffix(".py").replace("/", ".") in said


@pytest.mark.parametrize(("path", "code"), ALLOWED)
def test_an_import_that_follows_the_contract_is_not_reported(project: Path, path: str, code: str) -> None:
    add(project, path, code)
    status, said = lint(project)
    assert status == 0, said
