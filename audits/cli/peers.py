"""`hubrouter-audit peers`: the same models by this auditor and by another checker, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from audits.claims.judged import report_of
from audits.cli._exits import OK, UNDECIDED, CommandError
from audits.cli._reports import ledger_in, reference_of, together
from audits.evidence.experiment import Options
from audits.evidence.runner import gather
from audits.experiments.auditor import _causal_certificate as peer
from audits.experiments.auditor.peer import EXPERIMENT
from audits.report.claims.console import print_document
from audits.report.claims.kill_matrix import peers_document
from audits.report.files import write_reports
from audits.report.render.console import console


def run(options: argparse.Namespace) -> int:
    """Gather, rebuild the reports, print both; never a verdict on anybody, so 0 wherever all of it ran."""
    if not peer.installed():
        raise CommandError(
            f"not run: {peer.PACKAGE} is not installed; `nox -s peers`, or pip install 'hubrouter-audit[peers]'"
        )
    folder = Path(options.reports)
    gathered = gather([EXPERIMENT], Options(), ledger_in(folder), fresh=options.fresh)
    report = report_of(together(reference_of(folder), gathered.evidence))
    write_reports(report, folder)
    print_document(peers_document(report), console(), folded=True)
    return UNDECIDED if gathered.failures else OK
