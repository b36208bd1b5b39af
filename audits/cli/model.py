"""`hubrouter-audit model TARGET`: audit any PyTorch sequence model."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from audits.auditor.guarded import audit
from audits.cli._ending import say
from audits.cli._exits import FOUND, OK, UNDECIDED, CommandError, refuse_unknown
from audits.cli._outputs import console_beside, target_beside, write_outputs
from audits.cli._target import load, reproducible
from audits.cli._waiting import last_resort, waiting
from audits.formatting import error_text
from audits.instruments.influence import influence_of, times_of
from audits.probes import all_probes
from audits.report.audit.badge import badge
from audits.report.audit.console import print_audit
from audits.report.audit.html import audit_html
from audits.report.audit.junit import audit_junit
from audits.report.audit.sarif import sarif
from audits.results import AuditResult, Verdict
from audits.subject.budget import Budget, OutOfTime
from audits.subject.options import settings_of
from audits.subject.prepare import prepare
from audits.subject.progress import AuditClock
from audits.subject.subject import Model
from audits.subject.untouched import reaches_original

MAPPED = 256  # positions of the influence map at most: it takes a sequence for each
CODES = {Verdict.PASS: OK, Verdict.LEAK: FOUND, Verdict.UNDETERMINED: UNDECIDED}


def run(options: argparse.Namespace) -> int:
    """Audit, write what was asked for, print, and exit by the verdict."""
    refuse_unknown("probe", filter(None, options.probes or ()), [probe.name for probe in all_probes()])
    budget = Budget(options.budget, interrupt=True)
    with target_beside(options), last_resort(budget):
        target = _loaded(options, budget)
        _note_what_is_shared(target)
        result = reproducible(_audited(target, options, budget), options)
        page = _page(target, result, options, budget) if options.html else ""
    renderers = {
        "sarif": lambda: sarif(result, Path.cwd()),
        "html": lambda: page,
        "junit": lambda: audit_junit(result),
        "badge": lambda: badge(result),
        "json": result.to_json,
    }
    write_outputs(options, renderers)
    print_audit(result, console_beside(options))
    return CODES[result.verdict]


def _loaded(options: argparse.Namespace, budget: Budget) -> Model:
    try:
        with budget.enforced():
            return load(options)
    except OutOfTime as problem:
        raise CommandError(f"{problem} while the target was built: nothing was run", UNDECIDED) from problem


def _note_what_is_shared(target: Model) -> None:
    """Say beforehand where the audit's copy cannot be kept apart from the target."""
    if names := reaches_original(target):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        say(f"note: a copy of the target reaches the target by {shown}: what is changed there is put back afterwards")


def _audited(target: Model, options: argparse.Namespace, budget: Budget) -> AuditResult:
    asked = vars(settings_of(vars(options))) | {"probes": options.probes, "preset": options.preset}
    with waiting(limited=options.budget is not None) as watch:
        return audit(target, **asked, target=options.target, budget=budget, watch=watch)


def _page(target: Model, result: AuditResult, options: argparse.Namespace, budget: Budget) -> str:
    """The page with the influence map; without it, and with the reason, where none can be measured."""
    asked = settings_of(vars(options))
    shown = min(asked.seq_len, MAPPED)
    its = {"vocab_size": result.settings["vocab_size"], "seq_len": shown, "dtype": None, "documents": None}
    try:
        subject = prepare(target, replace(asked, **its), AuditClock(budget))
        influence = tuple(map(tuple, influence_of(subject)))
    except (OutOfTime, Exception) as problem:  # whatever the model raises: the audit is done, and its result is kept
        return audit_html(result, no_map=f"The influence map could not be measured: {error_text(problem)}.")
    return audit_html(result, influence, times_of(subject))
