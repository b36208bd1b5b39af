"""`hubrouter-audit claims`: what is gathered, on what, and where to."""

from __future__ import annotations

import argparse

from audits.cli._options import add_executor, add_page, add_reports
from audits.evidence.experiment import TIERS

NAME, HELP = "claims", "gather missing evidence, judge every claim, and write the reports"

CORPUS_HELP = "a text file, or hf:NAME[:CONFIG] for a dataset or a folder; the Python library's source where absent"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to gather, on what, and where to."""
    parser.add_argument("--tier", choices=TIERS, default="quick", help="how much evidence: minutes, hours, or a GPU")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="ID",
        help="gather for these claims only (patterns as 'routing-*' too), and exit by them",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--corpus", metavar="TEXT", help=CORPUS_HELP)
    parser.add_argument("--hotpot", metavar="FILE", help="HotpotQA's JSON, for the claim routing-bm25")
    parser.add_argument("--fresh", action="store_true", help="repeat runs that are in the ledger already")
    add_executor(parser)
    add_reports(parser)
    add_page(parser)
