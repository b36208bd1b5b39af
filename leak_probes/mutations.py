"""Mistakes in the council and around it, each made in a copy of `hubrouter/`: which test catches it, after how long.

    python leak_probes/mutations.py [NAME …]      # all where none is named; prints the table of README.md

Seconds are CPU time of one process from its start to the first failure, its report included. A mutation that no test
catches makes the exit code 1.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("audits", "hubrouter", "leak_probes")
COUNCIL, ROUTER, SELECT, ENCODE = (f"hubrouter/{name}.py" for name in ("council", "router", "select", "encode"))
FAINT = "x = x + 1e-9 * x.mean(1, keepdim=True)"


class Edit(NamedTuple):
    """One place of a file, and what stands there after the mistake."""

    file: str
    right: str
    wrong: str


MUTATIONS: dict[str, tuple[Edit, ...]] = {
    "mask off by one": (Edit(COUNCIL, ".tril(size - queries)", ".tril(size - queries + 1)"),),
    "selection includes the own chunk": (
        Edit(
            ROUTER,
            "own, _first(chosen, score.shape[1])",
            "own, type(chosen)(*(p[:, -score.shape[1] :] for p in chosen))",
        ),
    ),
    "hub summary includes the own chunk": (
        Edit(
            ROUTER,
            "self.decode(q, _first(prefix, groups), ",
            "self.decode(q, type(prefix)(*(p[:, -groups:] for p in prefix)), ",
        ),
    ),
    "query normalised over the chunk": (
        Edit(ROUTER, "return Piece(q, ", "return Piece(q / q.norm(dim=2, keepdim=True), "),
    ),
    "tie grid scaled by the sequence's maximum": (
        Edit(
            SELECT,
            "((exact * GRID).round() / GRID)",
            "((exact / exact.abs().amax(1, keepdim=True) * GRID).round() / GRID * exact.abs().amax(1, keepdim=True))",
        ),
    ),
    "neighbours look ahead": (
        Edit(
            SELECT,
            "torch.cat([recent, self.rounded(ranking, valid)], dim=1)",
            "F.pad(self.rounded(ranking, valid), (0, self.neighbours), value=NO_CLAIM)",
        ),
    ),
    "state across calls": (
        Edit(
            ROUTER,
            "return self._walk(x, valid, self.start(x), ",
            'x, self.__dict__["last"] = x + self.__dict__.get("last", 0), 0.001 * float(x.detach().mean())\n'
            "        return self._walk(x, valid, self.start(x), ",
        ),
    ),
    "mask cached by shape": (
        Edit(
            COUNCIL,
            "return causal & own.valid[:, :, None, :]",
            "key = (queries, own.valid.shape)\n"
            "        return self.__dict__.setdefault(key, causal & own.valid[:, :, None, :])",
        ),
    ),
    "a mean over the sequence, times 1e-9": (
        Edit(
            ROUTER, "valid = _all_real(x) if", "x = x + 1e-9 * x.mean(1, keepdim=True)\n        valid = _all_real(x) if"
        ),
    ),
    "mask off by one from the 13th chunk on": (
        Edit(
            COUNCIL,
            "return causal & own.valid[:, :, None, :]",
            "late = torch.arange(own.valid.shape[1], device=own.valid.device)[None, :, None, None] >= 12\n"
            "        return torch.where(late, causal | causal.roll(-1, 0), causal) & own.valid[:, :, None, :]",
        ),
    ),
    "padding is read": (
        Edit(ROUTER, "self._computed(x.masked_fill(padding, 0), valid)", "self._computed(x, valid)"),
        Edit(ENCODE, "seen = valid[:, :, None, None, :]", "seen = torch.ones_like(valid)[:, :, None, None, :]"),
    ),
}


class Outcome(NamedTuple):
    """The first test that failed, where it says that the leak enters, and the CPU seconds until it was reported."""

    test: str
    place: str
    seconds: float


def outcome(edits: tuple[Edit, ...]) -> Outcome:
    """Run the leak probes on a copy with these edits.

    Raises:
        ValueError: the place of an edit is not found exactly once, or no test failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name)
        shutil.copy(ROOT / "pyproject.toml", copy)
        for edit in edits:
            _apply(copy / edit.file, edit)
        return _probed(copy)


def _apply(file: Path, edit: Edit) -> None:
    text = file.read_text(encoding="utf-8")
    if text.count(edit.right) != 1:
        raise ValueError(f"{edit.file} has {edit.right!r} {text.count(edit.right)} times: mend the mutation")
    file.write_text(text.replace(edit.right, edit.wrong), encoding="utf-8")


def _probed(copy: Path) -> Outcome:
    before = _cpu_seconds()
    command = [sys.executable, "-m", "pytest", "leak_probes", "-x", "-p", "no:xdist", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^FAILED \S+::test_(\S+)", done.stdout, re.MULTILINE)
    if failed is None:
        raise ValueError(f"no test failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    place = re.search(r"leak at (?:somewhere in the forward at )?([^\s,]+:\d+|not located)", done.stdout)
    return Outcome(failed.group(1), place.group(1) if place else "", _cpu_seconds() - before)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(names: list[str]) -> int:
    """Print a row of the table for each mutation, as it is found."""
    survived = False
    print("| mutation | first test that fails | place named | CPU seconds |\n|---|---|---|---|")  # noqa: T201
    for name in names or MUTATIONS:
        try:
            test, place, seconds = outcome(MUTATIONS[name])
            row = f"`{test}` | `{place}` | {seconds:.0f}"
        except ValueError as problem:
            survived, row = True, f"**none**: {problem} | |"
        print(f"| {name} | {row} |", flush=True)  # noqa: T201
    return int(survived)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
