"""The model that a command is given: a target of Python, or `hf:NAME`."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace

from audits.cli._exits import CommandError
from audits.results import AuditResult
from audits.subject.subject import Model
from audits.subject.target import load_target
from audits.survey.fixups import LONGEST, SEQ_LEN
from audits.survey.huggingface import PREFIX, build_model

SHRINK = "--shrink"


def load(options: argparse.Namespace) -> Model:
    """The model; sets the length that fits a shrunk one where the options give none."""
    target: str = options.target
    if not target.startswith(PREFIX):
        if options.shrink:
            raise CommandError(f"{SHRINK} is for {PREFIX} targets: {target} builds its model itself")
        return load_target(target)
    if options.shrink:
        options.seq_len = options.seq_len or SEQ_LEN
        if options.seq_len > LONGEST:
            raise CommandError(f"--seq-len {options.seq_len}: with {SHRINK} give {LONGEST} at most")
    return build_model(target.removeprefix(PREFIX), shrink=options.shrink, seed=options.seed or 0)


def reproducible(result: AuditResult, options: argparse.Namespace) -> AuditResult:
    """The result, its lines to reproduce a finding with what else builds the model."""
    if not options.shrink:
        return result
    command = f"hubrouter-audit model {shlex.quote(options.target)}"
    lines = [(finding, finding.reproduce.replace(command, f"{command} {SHRINK}", 1)) for finding in result.findings]
    return replace(result, findings=tuple(replace(finding, reproduce=line) for finding, line in lines))
