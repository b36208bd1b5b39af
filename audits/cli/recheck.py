"""`hubrouter-audit recheck`: which experiments, and on what their runs are repeated."""

from __future__ import annotations

import argparse

from audits.cli._exits import positive
from audits.cli._options import add_reports

NAME, HELP = "recheck", "repeat a sample of the runs whose code has changed since, and compare every number"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which experiments, where the evidence lies, and on what the sample is repeated."""
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="named as in the ledger; all where absent")
    add_reports(parser)
    parser.add_argument("--workers", type=positive, metavar="W", help="processes at a time; one a core where absent")
    parser.add_argument("--device", default="cpu")
