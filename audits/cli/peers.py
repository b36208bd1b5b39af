"""`hubrouter-audit peers`: where the evidence goes."""

from __future__ import annotations

import argparse

from audits.cli._options import add_reports

NAME, HELP = "peers", "the same models by this auditor and by causal-certificate: what each finds, what each takes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the evidence goes."""
    parser.add_argument("--fresh", action="store_true", help="repeat runs that are in the ledger already")
    add_reports(parser)
