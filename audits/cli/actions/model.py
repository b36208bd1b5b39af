"""`hubrouter-audit model TARGET`: audit any PyTorch sequence model."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from audits.auditor.audit import audit
from audits.cli._exits import CANNOT_RUN, FOUND, OK, UNDECIDED, CommandError
from audits.cli.actions._settings import settings_of
from audits.cli.actions._waiting import Waiting
from audits.cli.actions._watchdog import last_resort
from audits.formatting import error_text
from audits.instruments.influence import influence_map
from audits.report.audit.badge import badge
from audits.report.audit.console import print_audit
from audits.report.audit.html import audit_html
from audits.report.audit.junit import audit_junit
from audits.report.audit.sarif import sarif
from audits.report.write import ReportError, check_writable, write_text
from audits.results import AuditResult, Verdict
from audits.subject.budget import Budget, OutOfTime
from audits.subject.progress import AuditClock
from audits.subject.settings import SubjectError
from audits.subject.subject import Model
from audits.subject.target import load_target

MAPPED = 256  # positions of the influence map at most: it takes a sequence for each
FILES = ("sarif", "html", "junit", "badge")  # outputs that only a file can take
CODES = {Verdict.PASS: OK, Verdict.LEAK: FOUND, Verdict.UNDETERMINED: UNDECIDED}


def run(options: argparse.Namespace) -> int:
    """Audit, print, write what was asked for, and exit by the verdict."""
    _check_outputs(options)
    budget, to_stdout = Budget(options.budget, interrupt=True), options.json == "-"
    console = Console(stderr=to_stdout)
    # Whatever the target prints must not spoil a JSON document on standard output.
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout), last_resort(budget):
        try:
            target = _loaded(options.target, budget)
            result = _audited(target, options, budget)
            page = _page(target, result, options, budget) if options.html else ""
        except SubjectError as problem:
            raise CommandError(str(problem)) from problem
        print_audit(result, console)
    _write(result, page, options)
    return CODES[result.verdict]


def _check_outputs(options: argparse.Namespace) -> None:
    """Before the work: outputs that would overwrite each other or go nowhere."""
    files = {name: getattr(options, name) for name in ("json", *FILES) if getattr(options, name) is not None}
    if "" in files.values() or len({os.path.realpath(path) for path in files.values()}) < len(files):
        raise CommandError("every output needs a file, and a different one: --json, --" + ", --".join(FILES))
    if "-" in [path for name, path in files.items() if name != "json"]:
        raise CommandError("only --json can go to standard output: name a file for --" + ", --".join(FILES))
    try:
        for path in files.values():
            if path != "-":
                check_writable(Path(path))
    except ReportError as problem:
        raise CommandError(str(problem)) from problem


def _loaded(target: str, budget: Budget) -> Model:
    try:
        with budget.enforced():
            return load_target(target)
    except OutOfTime as problem:
        raise CommandError(f"{problem} while the target was built: nothing was run", UNDECIDED) from problem


def _audited(target: Model, options: argparse.Namespace, budget: Budget) -> AuditResult:
    names = options.probes.split(",") if options.probes is not None else None
    asked = asdict(replace(settings_of(options), documents=options.documents))
    chosen = {"probes": names, "preset": options.preset}
    with Waiting(limited=options.budget is not None) as waiting:
        return audit(target, **asked, **chosen, target=options.target, budget=budget, watch=waiting.watch)


def _page(target: Model, result: AuditResult, options: argparse.Namespace, budget: Budget) -> str:
    """The page with the influence map; without it, and with the reason, where none can be measured."""
    shown = min(options.seq_len, MAPPED)
    settings = replace(settings_of(options), vocab_size=result.settings["vocab_size"], seq_len=shown, dtype=None)
    try:
        influence = influence_map(target, settings, AuditClock(budget))
    except (OutOfTime, Exception) as problem:  # whatever the model raises: the audit is done, and its result is kept
        return audit_html(result, no_map=f"The influence map could not be measured: {error_text(problem)}.")
    return audit_html(result, tuple(map(tuple, influence)))


def _write(result: AuditResult, page: str, options: argparse.Namespace) -> None:
    """Everything rendered first, then written; standard output last."""
    texts = {}
    if options.json and options.json != "-":
        texts[options.json] = result.to_json()
    if options.sarif:
        texts[options.sarif] = sarif(result, Path.cwd())
    if options.html:
        texts[options.html] = page
    if options.junit:
        texts[options.junit] = audit_junit(result)
    if options.badge:
        texts[options.badge] = badge(result)
    try:
        for path, text in texts.items():
            write_text(Path(path), text)
    except ReportError as problem:
        raise CommandError(str(problem), CANNOT_RUN) from problem
    if options.json == "-":
        sys.stdout.write(result.to_json())
