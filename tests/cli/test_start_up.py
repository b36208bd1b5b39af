"""Help, version and typos answer without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from audits.__main__ import _parser, main
from audits.cli import _commands

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


@pytest.mark.parametrize("command", _commands.COMMANDS)
def test_a_mistyped_option_is_named_with_what_it_may_have_meant_and_the_commands_own_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"model": ["m:f"], "bet": ["m:f"], "init": ["m:f"], "survey": ["transformers"]}.get(command, [])
    with pytest.raises(SystemExit) as stopped:
        main([command, *words, "--hepl"])
    assert stopped.value.code == 2
    asked = f"unrecognized arguments: --hepl; did you mean --help? (see hubrouter-audit {command} --help)\n"
    assert capsys.readouterr().err == f"hubrouter-audit {command}: {asked}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["modle"], "did you mean model?"),
        (["survey", "transfomers"], "did you mean transformers?"),
        (["claims", "--tier", "huge"], "there are quick, full, paper"),
    ],
)
def test_a_mistyped_command_or_choice_is_answered_with_what_it_may_have_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert f"invalid choice: {words[-1]!r}; {meant} (see hubrouter-audit" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--probes gradient decode", "--probes gradient,decode", "--probes gradient, decode"])
@pytest.mark.parametrize("order", ["model m:f {}", "model {} --seed 1 m:f", "model {} m:f"])
def test_a_list_is_separated_by_spaces_or_commas_wherever_the_target_stands(words: str, order: str) -> None:
    options = _parser().parse_args(order.format(words).split())
    assert options.probes == ["gradient", "decode"]
    assert options.target == "m:f"


def test_a_list_may_hold_numbers() -> None:
    options = _parser().parse_args(["bet", "m:f", "--alphabets", "2,", "16"])
    assert options.alphabets == [2, 16]
    assert _parser().parse_args(["leaks", "--only", "a,b", "c"]).only == ["a", "b", "c"]
