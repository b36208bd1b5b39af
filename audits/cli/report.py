"""`hubrouter-audit report`: rebuild the reports from the evidence on disk; runs no experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from audits.claims.judged import report_of
from audits.cli._exits import CommandError
from audits.cli.claims import exit_code, write_everything
from audits.cli.survey import rebuild_surveys
from audits.evidence.ledger import Ledger
from audits.report.claims.console import print_claims
from audits.report.files import README
from audits.report.render.console import console


def run(options: argparse.Namespace) -> int:
    """Judge, write, print."""
    folder = Path(options.reports)
    evidence = Ledger(folder / "evidence").read()
    if not evidence.records:
        raise CommandError(f"no evidence in {folder / 'evidence'}: run `nox -s audit` first, or name its --reports")
    report = report_of(evidence)
    write_everything(report, options)
    rebuild_surveys(folder / "survey")
    print_claims(report, console(), folder / README)
    return exit_code(report.judged, failed=False)
