"""Help, version and typos answer without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

RUN = """
import sys
from audits.__main__ import main
try:
    code = main({arguments!r})
except SystemExit as stopped:
    code = stopped.code
heavy = [name for name in ("torch", "numpy", "scipy", "rich", "matplotlib") if name in sys.modules]
print("code", code, "heavy", heavy)
"""


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["modle"], 2),
        (["model", "--help"], 0),
        (["model", "target.py:model", "--sed-len", "8"], 2),
        (["model"], 2),
        (["claims", "--tier", "huge"], 2),
        (["survey", "nothing"], 2),
    ],
)
def test_help_and_typos_load_nothing_heavy(arguments: list[str], code: int) -> None:
    assert f"code {code} heavy []" in printed(RUN.format(arguments=arguments))


def test_the_model_command_loads_no_statistics_and_no_compiler() -> None:
    asked = "[n for n in ('scipy', 'matplotlib', 'torch._dynamo', 'msgspec', 'audits.statistics') if n in sys.modules]"
    assert printed(f"import sys, audits.cli.model; print({asked})") == "[]\n"
