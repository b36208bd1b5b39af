"""`hubrouter-audit leaks`: the kill matrix, every planted leak and its clean control against every probe."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from audits.claims.judged import Report
from audits.claims.views import kill_matrix
from audits.cli._exits import FOUND, OK, UNDECIDED, refuse_unknown
from audits.cli._outputs import console_beside, write_outputs
from audits.evidence.experiment import Experiment, Options, RunSpec
from audits.evidence.ledger import Ledger
from audits.evidence.runner import gather
from audits.experiments.auditor import kill_matrix as experiment
from audits.report.claims.console import print_kill_matrix
from audits.report.claims.kill_matrix import leaks_json


def run(options: argparse.Namespace) -> int:
    """Audit every planted leak afresh and print the matrix; 1 if a leak survived or a clean control was flagged."""
    with tempfile.TemporaryDirectory() as folder:
        gathered = gather([_chosen(options.only)], Options(), Ledger(Path(folder)), workers=options.workers)
    report = Report((), gathered.evidence)
    write_outputs(options, {"json": lambda: leaks_json(report)})
    print_kill_matrix(report, console_beside(options))
    if gathered.failures:
        return UNDECIDED
    leaks = kill_matrix(report).leaks
    good = all(leak.killed and not leak.false_alarm and leak.named == leak.leak_class for leak in leaks)
    return OK if good else FOUND


def _chosen(names: list[str] | None) -> Experiment:
    specs = experiment.runs(Options())
    known = {str(spec.config["twin"]): spec for spec in specs}
    refuse_unknown("planted leak", names or (), known)
    wanted: tuple[RunSpec, ...] = tuple(known[name] for name in names) if names else specs
    return replace(experiment.EXPERIMENT, runs=lambda _options: wanted)
