"""The GitHub action and the pre-commit hook: shell steps are run, on a model that leaks and on one that does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from audits.__main__ import _parser

ROOT = Path(__file__).resolve().parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
MODELS = """
import torch
from torch import nn

class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).mean(1, keepdim=True).expand(-1, tokens.shape[1], -1))

def causal():
    return nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7))
"""


def step(name: str) -> dict[str, Any]:
    (found,) = [step for step in ACTION["runs"]["steps"] if step["name"] == name]
    return found


def shell(name: str, folder: Path, **environment: str) -> int:
    """Run a step as GitHub does, and return its exit code."""
    assert set(environment) == set(step(name)["env"])
    files = {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    variables = {**os.environ, **files, **environment, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(name)["run"]]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False).returncode


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody's repository on a runner where the command is installed."""
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "hubrouter-audit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m audits "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("model", "code", "verdict"), [("causal", 0, "PASS"), ("Leaky", 1, "LEAK")])
def test_the_action_audits_tells_and_fails_last(repository: Path, model: str, code: int, verdict: str) -> None:
    small = "--seq-len 6 --probes perturbation,gradient"
    assert shell("Audit", repository, TARGET=f"models.py:{model}", OPTIONS=small, FOLDER="out") == 0
    assert (repository / "output").read_text() == f"exit-code={code}\n"
    assert verdict in (repository / "summary").read_text()
    assert json.loads((repository / "out" / "badge.json").read_text())["message"].startswith(verdict)
    assert all((repository / "out" / f"audit.{end}").stat().st_size for end in ("json", "sarif", "xml", "html", "txt"))
    assert shell("Verdict", repository, CODE=str(code)) == code


def test_a_target_that_cannot_run_is_told_too(repository: Path) -> None:
    assert shell("Audit", repository, TARGET="models.py:nothing", OPTIONS="", FOLDER="out") == 0
    assert (repository / "output").read_text() == "exit-code=2\n"
    assert "has no attribute 'nothing'" in (repository / "summary").read_text()


def test_findings_are_uploaded_before_the_verdict_fails_the_job() -> None:
    names = [step["name"] for step in ACTION["runs"]["steps"]]
    assert names.index("Show findings in code scanning") < names.index("Verdict")
    assert step("Show findings in code scanning")["with"]["sarif_file"] == "${{ inputs.folder }}/audit.sarif"


def test_the_hook_runs_a_command_that_exists() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    program, *arguments = hook["entry"].split()
    assert program == "hubrouter-audit"
    assert _parser().parse_args([*arguments, "models:build", "--preset", "quick"]).command == "model"
    assert hook["pass_filenames"] is False
