"""Random command lines over all commands: one line for each error, the codes of the contract, nothing destroyed."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import odd_targets
import pytest
import torch

from audits.__main__ import _parser, main
from audits.cli._commands import COMMANDS
from audits.subject.options import CONTRACT

SEED = int(os.environ.get("FAULTS_SEED", "0"))
LINES = int(1000 * float(os.environ.get("FAULTS", "1")))
ODD = (  # values of options
    "", " ", "-1", "0", "1", "2", "3", "1e999", "nan", "9" * 400, "9999999999", "x", "a,b", "é\udc80", "\x1b[31m", "\0",
    "../..", "/", "/dev/null", "/dev/full", "no/such/folder/file", "cpu", "meta", "cuda", "cuda:99", "float32",
    "features", "tokens", "quick", "%s{}",
)  # fmt: skip
OUTPUTS = (
    "/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/77", "-", "", "pipe", "folder", "link", "out.json",
    "no/such/out.json", "\0",
)  # fmt: skip
# What ends a command before its work, which takes minutes.
ENDS_EARLY = {
    "bench": ["--device", "meta"],
    "claims": ["--only", "no-such-claim"],
    "leaks": ["--only", "no-such-leak"],
    "peers": ["--page"],
    "recheck": ["no-such-experiment"],
    "report": ["--reports", "no-evidence"],
    "survey": ["--only", "no-such-model"],
}
TARGETED = ("bet", "model")  # their lines are mostly right: what else goes wrong shows only then
LEAKY = (":Leaky", ":Grows", ":WritesInput")  # sees later tokens, keeps state, changes its input
SKIPPED = ("--profile", "--help", "--isolate")  # measures for minutes; ends at once; starts a process (tests/cli)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Targets change their process on purpose; the next line begins afresh."""
    folder, environment, out = Path.cwd(), dict(os.environ), sys.stdout
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.update(environment)
        sys.stdout = out
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def drawn(gen: random.Random, command: str) -> list[str]:
    """A command line."""
    parser = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices[command]
    words: list[str] = []
    for action in gen.sample(parser._actions, k=gen.randint(0, 2 if command in TARGETED else 4)):
        if not action.option_strings or action.option_strings[-1] in SKIPPED:
            continue
        option = action.option_strings[-1]
        pool = OUTPUTS if action.metavar == "FILE" else (*ODD, *map(str, action.choices or ()))
        value = gen.choice(pool)
        words += [option] if action.nargs == 0 else [f"{option}={value}"] if gen.random() < 0.5 else [option, value]
    if command in TARGETED:
        small = ["--seq-len", "8", "--batch", "2"] + (
            ["--probes", "perturbation"] if command == "model" else ["--steps", "2"]
        )
        words = [f"targets.py:{gen.choice(odd_targets.names())}", *small, *words]
    if command == "init":
        words = [gen.choice(ODD), "--folder", gen.choice(("folder/new", "pipe", "/dev/null", "out.json")), *words]
    if command == "survey":
        words = ["transformers", *words]
    return [command, *words, *ENDS_EARLY.get(command, [])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets.py").write_text(odd_targets.source(), encoding="utf-8", errors="surrogatepass")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    return tmp_path


def ended(words: list[str]) -> tuple[int, str]:
    """The exit code of a command line, and what it said."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(shown), restored():
        try:
            code = main(words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    said.flush()
    return code, said.buffer.getvalue().decode(errors="replace")


def fault(words: list[str], code: int, said: str) -> str | None:
    """What is wrong with how it ended."""
    if "Traceback" in said and "--debug" not in words:
        return "a traceback"
    if code not in (0, 1, 2, 3):
        return f"exit code {code}"
    contract = any(word.startswith(f"--{name}") for word in words for name in CONTRACT)
    if code == 1 and words[0] in TARGETED and not contract and not words[1].endswith(LEAKY):
        return "exit code 1 without a leak"
    if code == 2 and not said.strip():
        return "no line that says why"
    return None


@pytest.mark.filterwarnings("ignore")
def test_random_command_lines(folder: Path) -> None:
    gen, codes, broken = random.Random(SEED), Counter[int](), []
    commands = [*COMMANDS, *TARGETED * len(COMMANDS)]
    for _ in range(LINES):
        words = drawn(gen, gen.choice(commands))
        code, said = ended(words)
        codes[code] += 1
        if wrong := fault(words, code, said):
            broken.append(f"{wrong}: {words}: {said[-300:]}")
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode), words
        assert stat.S_ISFIFO((folder / "pipe").stat().st_mode), words
        assert (folder / "folder").is_dir(), words
        assert (folder / "link").is_symlink(), words
    print(f"{LINES} command lines, seed {SEED}: exit codes {dict(sorted(codes.items()))}, broke {len(broken)}")  # noqa: T201
    assert not broken, "\n".join(broken)


@pytest.mark.filterwarnings("ignore")
def test_every_odd_target(folder: Path) -> None:
    names, broken = odd_targets.names(), []
    for name in names:
        words = ["model", f"targets.py:{name}", "--seq-len", "8", "--batch", "2", "--probes", "perturbation"]
        code, said = ended(words)
        if wrong := fault(words, code, said):
            broken.append(f"{name}: {wrong}: {said[-300:]}")
        elif name in ("Causal", "Warns", "Thread", "Deletes") and code != 0:
            broken.append(f"{name}: exit code {code}: {said[-300:]}")
    print(f"{len(names)} odd targets, broke {len(broken)}")  # noqa: T201
    assert not broken, "\n".join(broken)
