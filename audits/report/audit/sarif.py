"""An audit as SARIF 2.1.0, so that a code host shows each leak at its line."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from audits import __version__
from audits.explanation import kind, look_first, meaning, place, sentence, trail
from audits.jsonable import json_text
from audits.results import AuditResult, Finding, LeakClass, Verdict

_HELP = (
    "Run the line after 'Reproduce:' to see the finding again; with --html FILE it draws which output depends on which "
    "input. Then look at the line named in the finding, and at"
)
_INDEX = re.compile(r"(?<![^.])\d+(?![^.])")  # of a layer among its equals: the 3 of "layers.3.attention"
_SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(result: AuditResult, base: Path) -> str:
    """The document; files inside the absolute folder `base` (the current one) become relative to it."""
    rules = [_rule(leak_class) for leak_class in LeakClass]
    driver = {"name": "hubrouter-audit", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The folder in which the audit was started."}}},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(result)}],
        "results": _results(result, base),
        "properties": {"target": result.target, "verdict": str(result.verdict)},
    }
    return json_text({"$schema": _SCHEMA_URI, "version": "2.1.0", "runs": [run]})


def fingerprint(target: str, finding: Finding) -> str:
    """What makes two findings the same leak: target, class and module, whichever of equal layers it is.

    Never the probes that were chosen, the positions, the size of the effect, the operation or the line: those change
    with the seed, the machine and edits elsewhere in the file, and the leak stays the same. So does the layer, where
    all have the same code.
    """
    parts = (target, str(finding.leak_class), _INDEX.sub("*", finding.module or ""))
    return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()[:32]


def _rule(leak_class: LeakClass) -> dict[str, Any]:
    return {
        "id": f"causality/{leak_class}",
        "name": "CausalityLeak" + "".join(part.capitalize() for part in leak_class.split("-")),
        "shortDescription": {"text": kind(leak_class)},
        "fullDescription": {"text": f"{kind(leak_class)} {meaning(leak_class)}"},
        "help": {"text": f"{_HELP} {look_first(leak_class)}."},
        "defaultConfiguration": {"level": "error"},
    }


def _results(result: AuditResult, base: Path) -> list[dict[str, Any]]:
    """All findings; equal fingerprints are numbered in their order, because a code host keeps one result of each."""
    target, seen = _portable(result.target, base), Counter[str]()
    shown = []
    for finding in result.findings:
        mark = fingerprint(target, finding)
        seen[mark] += 1
        shown.append(_result(result.target, finding, base, f"{mark}:{seen[mark]}"))
    return shown


def _portable(target: str, base: Path) -> str:
    """The target with its file relative to `base`: a checkout elsewhere must not make every leak a new one."""
    file, colon, attribute = target.rpartition(":")
    return f"{_artifact(file, base)['uri']}{colon}{attribute}" if file.endswith(".py") else target


def _result(target: str, finding: Finding, base: Path, mark: str) -> dict[str, Any]:
    text = f"{sentence(finding)} Where: {place(finding)}. {meaning(finding.leak_class)}"
    text += f" Reproduce: {finding.reproduce}" if finding.reproduce else ""
    measured = {"effect": finding.effect, "noiseFloor": finding.noise_floor}
    finite = {key: value for key, value in measured.items() if math.isfinite(value)}  # JSON has no word for others
    return {
        "ruleId": f"causality/{finding.leak_class}",
        "ruleIndex": list(LeakClass).index(finding.leak_class),
        "level": "error",
        "message": {"text": text},
        "locations": [_location(target, finding, base)],
        **({"codeFlows": [_code_flow(finding, base)]} if finding.trace else {}),
        # The second key is the only one that GitHub reads; without it, it would hash the line, which edits change.
        "partialFingerprints": {"causalityLeak/v2": mark, "primaryLocationLineHash": mark},
        "properties": {"probe": finding.probe, "probes": list(finding.seen_by), **finite},
    }


def _location(target: str, finding: Finding, base: Path) -> dict[str, Any]:
    """Where a finding is: its own file and line, else the first line of the file that the target names; the module.

    There is always a file: code hosts refuse the whole document where one result has none.
    """
    file, line = (finding.file, finding.line) if finding.file else (_target_file(target, base), None)
    location = _region(file, line, base)
    if finding.module:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.module, "kind": "module"}]
    return location


def _code_flow(finding: Finding, base: Path) -> dict[str, Any]:
    """The way of the value, step by step, with the position it is at; a step outside the source has words alone."""
    steps = []
    for step in finding.trace:
        text = step.op if step.position is None else f"{step.op}, position {step.position}"
        region = _region(step.file, step.line, base) if step.file else {}
        steps.append({"location": {"message": {"text": text}, **region}})
    return {"message": {"text": trail(finding)}, "threadFlows": [{"locations": steps}]}


def _region(file: str, line: int | None, base: Path) -> dict[str, Any]:
    region = {"startLine": line if line and line > 0 else 1}
    return {"physicalLocation": {"artifactLocation": _artifact(file, base), "region": region}}


def _target_file(target: str, base: Path) -> str:
    """The file a target names: of `package.module:attribute` the one that is there, else where it would usually be."""
    named = target.rpartition(":")[0] or target
    if named.endswith(".py"):
        return named
    path = named.replace(".", "/")
    usual = [f"{folder}{path}{end}" for folder in ("", "src/") for end in (".py", "/__init__.py")]
    return next((file for file in usual if (base / file).is_file()), usual[0])


def _artifact(file: str, base: Path) -> dict[str, str]:
    """A file's address: relative inside `base`, else an absolute file URI."""
    full = Path(os.path.normpath(base / file))
    if full.is_relative_to(base):
        return {"uri": quote(os.fsencode(full.relative_to(base).as_posix())), "uriBaseId": "%SRCROOT%"}
    return {"uri": full.as_uri()}


def _notifications(result: AuditResult) -> list[dict[str, Any]]:
    """Probes that could not decide: their silence must not read as a PASS."""
    silent = (probe for probe in result.probes if probe.verdict is Verdict.UNDETERMINED)
    texts = (f"Probe {probe.name} decided nothing: {probe.why}" for probe in silent)
    return [{"level": "warning", "message": {"text": text}} for text in texts]
