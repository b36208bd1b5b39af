"""`hubrouter-audit init`: the files it writes work as they are, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import audits
import audits.auditor.audit
from audits.__main__ import main

pytest_plugins = ["pytester"]

MODEL = """
from torch import nn

def toy():
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
"""
TEST, WORKFLOW = Path("tests/test_causality.py"), Path(".github/workflows/causality.yml")


def test_the_test_it_writes_passes_on_a_causal_model(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(toys=MODEL)
    pytester.syspathinsert()
    assert main(["init", "toys:toy", "--folder", str(pytester.path)]) == 0
    done = pytester.runpytest_inprocess(
        "-p", "audits.testing.plugin", "-p", "no:jaxtyping", "-k", "gradient or padding"
    )
    done.assert_outcomes(passed=1, skipped=1, deselected=9)


def test_the_workflow_it_writes_names_the_target_and_this_version(tmp_path: Path) -> None:
    assert main(["init", "my.models:build", "--folder", str(tmp_path)]) == 0
    document = yaml.safe_load((tmp_path / WORKFLOW).read_text())
    (action,) = [step for step in document["jobs"]["audit"]["steps"] if "hubrouter-audit" in step["uses"]]
    assert action["with"]["target"] == "my.models:build"
    assert action["uses"].endswith(f"@v{audits.__version__}")
    assert document["permissions"]["security-events"] == "write"


@pytest.mark.parametrize("there", [TEST, WORKFLOW])
def test_nothing_is_overwritten(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine")
    assert main(["init", "toys:toy", "--folder", str(tmp_path)]) == 2
    assert f"init overwrites nothing, and {tmp_path / there} exists" in capsys.readouterr().err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_text() for path in files] == ["mine"]


@pytest.mark.parametrize("target", ["models.py:build", "models", "a-b:c", "a:b c"])
def test_a_target_that_no_test_can_import_is_refused(target: str, tmp_path: Path) -> None:
    assert main(["init", target, "--folder", str(tmp_path)]) == 2
    assert not list(tmp_path.iterdir())
