"""`hubrouter-audit model TARGET`: audit any PyTorch sequence model."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from audits.auditor import audit
from audits.commands.exits import CANNOT_RUN, FOUND, OK, UNDECIDED, CommandError
from audits.commands.subject_options import add_subject_options, settings_of
from audits.influence import Matrix, influence_map
from audits.presets import PRESETS
from audits.report.audit_html import audit_html
from audits.report.console import print_audit
from audits.report.sarif import sarif
from audits.report.write import ReportError, write_text
from audits.subject import Model, Settings, SubjectError
from audits.target import load_target
from audits.verdicts import AuditResult, Verdict

NAME, HELP = "model", "audit any PyTorch sequence model for causality leaks"
MAPPED = 96  # positions of the influence map at most
CODES = {Verdict.PASS: OK, Verdict.LEAK: FOUND, Verdict.UNDETERMINED: UNDECIDED}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The contract's options."""
    rows, dtype = "most rows in one forward pass", "float64 where the model can be cast, else its own"
    add_subject_options(parser, batch=Settings.batch, batch_help=rows, dtype_help=dtype)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--probes", metavar="a,b,…", help="only these probes")
    which.add_argument("--preset", choices=tuple(PRESETS), help="all probes, or the fewest that see all planted leaks")
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - is standard output")
    parser.add_argument("--sarif", metavar="FILE", help="write the findings as SARIF 2.1.0")
    parser.add_argument("--html", metavar="FILE", help="write a page with the influence map")


def run(options: argparse.Namespace) -> int:
    """Audit, print, write what was asked for, and exit by the verdict."""
    _check_outputs(options)
    to_stdout = options.json == "-"
    console = Console(stderr=to_stdout)
    # Whatever the target prints must not spoil a JSON document on standard output.
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        try:
            target = load_target(options.target)
            result = _audited(target, options, console)
            influence = _influence(target, result, options) if options.html else ()
        except SubjectError as problem:
            raise CommandError(str(problem)) from problem
        print_audit(result, console)
    _write(result, influence, options)
    return CODES[result.verdict]


def _check_outputs(options: argparse.Namespace) -> None:
    """Before the work: outputs that would overwrite each other or go nowhere."""
    paths = [path for path in (options.json, options.sarif, options.html) if path is not None]
    if "" in paths or len(set(paths)) < len(paths):
        raise CommandError("--json, --sarif and --html need a file each, and different ones")
    if "-" in (options.sarif, options.html):
        raise CommandError("only --json can go to standard output: name a file for --sarif and --html")


def _audited(target: Model, options: argparse.Namespace, console: Console) -> AuditResult:
    names = options.probes.split(",") if options.probes is not None else None
    with console.status("auditing …") as status:

        def watch(name: str, index: int, count: int) -> None:
            status.update(f"probe {index + 1} of {count}: {name}")

        asked = asdict(settings_of(options))
        return audit(target, **asked, probes=names, preset=options.preset, target=options.target, watch=watch)


def _influence(target: Model, result: AuditResult, options: argparse.Namespace) -> tuple[tuple[float, ...], ...]:
    shown = min(options.seq_len, MAPPED)
    settings = replace(settings_of(options), vocab_size=result.settings["vocab_size"], seq_len=shown, dtype=None)
    rows: Matrix = influence_map(target, settings)
    return tuple(tuple(row) for row in rows)


def _write(result: AuditResult, influence: tuple[tuple[float, ...], ...], options: argparse.Namespace) -> None:
    """Everything rendered first, then written; standard output last."""
    texts = {}
    if options.json and options.json != "-":
        texts[options.json] = result.to_json()
    if options.sarif:
        texts[options.sarif] = sarif(result, Path.cwd())
    if options.html:
        texts[options.html] = audit_html(result, influence)
    try:
        for path, text in texts.items():
            write_text(Path(path), text)
    except ReportError as problem:
        raise CommandError(str(problem), CANNOT_RUN) from problem
    if options.json == "-":
        sys.stdout.write(result.to_json())
