"""A finding in words: what depends on what, where, what that means in practice, and what to look at first."""

from __future__ import annotations

import linecache
import tomllib
from importlib.resources import files
from textwrap import dedent

from audits.formatting import number
from audits.results import CALLERS_INPUT, Finding, LeakClass, Site

_TABLE = tomllib.loads(files("audits").joinpath("explanation.toml").read_text(encoding="utf-8"))
_WITHOUT_SOURCE = {  # what probes see that compare two calls and know no single position that makes the difference
    "prefix-length": "changes when the sequence is cut at {source}",
    "repeat-call": "depends on an earlier call",
    "decode": "differs between streaming and one pass",
    "documents": "differs from that of the same document alone",
}


def kind(leak_class: LeakClass) -> str:
    """What a leak of a class is, in one sentence."""
    return str(_TABLE[leak_class]["kind"])


def meaning(leak_class: LeakClass) -> str:
    """What it means in practice."""
    return str(_TABLE[leak_class]["meaning"].format(ahead=_TABLE["ahead"]))


def look_first(leak_class: LeakClass) -> str:
    """What to look at first, as the object of "look at"."""
    return str(_TABLE[leak_class]["look_first"])


def what(finding: Finding) -> str:
    """What depends on what: "the output at position 3, row 0 depends on position 5, row 0"."""
    seen = _WITHOUT_SOURCE.get(finding.probe) if finding.source == Site() or finding.probe == "prefix-length" else None
    seen = "is changed by the call itself" if finding.changed == CALLERS_INPUT else seen
    source = f"{finding.argument}, {finding.source}" if finding.argument else finding.source
    seen = seen or (f"depends on {source}" if finding.source != Site() else "depends on a later input")
    return f"{finding.changed} at {finding.sink} {seen.format(source=finding.source)}"


def sentence(finding: Finding, named: int | None = None) -> str:
    """What depends on what, by how much, how it enters, and which probes saw it: all, or the first `named` of them."""
    text, seen_by = what(finding), finding.seen_by[:named]
    more = ", …" if len(seen_by) < len(finding.seen_by) else ""
    size = f"by {number(finding.effect)}, where rounding explains {number(finding.noise_floor)}"
    clocks = f" {finding.clocks[0].upper()}{finding.clocks[1:]}." if finding.clocks else ""
    return f"{text[0].upper()}{text[1:]}, {size} ({finding.leak_class}; seen by {', '.join(seen_by)}{more}).{clocks}"


def place(finding: Finding) -> str:
    """Where in the code, as far as it is known: "file.py:12, module blocks.0, operation softmax".

    Without an operation the line is only where the module's forward begins.
    """
    at = f"{finding.file}:{finding.line}" if finding.file and finding.line else finding.file
    at = at if finding.op or not at else f"somewhere in the forward at {at}"
    parts = (at, finding.module and f"module {finding.module}", finding.op and f"operation {finding.op}")
    return ", ".join(part for part in parts if part) or "not located"


def trail(finding: Finding) -> str:
    """The way of the value: "token 31 -> mean my.py:27 -> output 16"; empty where it was not followed."""
    return " -> ".join(map(str, finding.trace))


def excerpt(finding: Finding) -> tuple[str, ...]:
    """The line named and its neighbours, numbered, the line itself marked by ">"; empty where it cannot be read."""
    if not finding.line or not source_line(finding.file, finding.line):
        return ()
    texts = {n: linecache.getline(str(finding.file), n) for n in range(max(1, finding.line - 1), finding.line + 2)}
    numbers = [n for n, text in texts.items() if text]
    width = len(str(numbers[-1]))
    shown = zip(numbers, dedent("".join(texts.values())).splitlines(), strict=True)
    return tuple(f"{'>' if n == finding.line else ' '} {n:{width}} | {text}" for n, text in shown)


def source_line(file: str | None, line: int | None) -> str:
    """A line of a source file without its indentation; empty where it cannot be read."""
    return linecache.getline(file, line).strip() if file and line else ""
