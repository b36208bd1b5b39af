"""`hubrouter-audit bench`: what is measured on this machine, and where to."""

from __future__ import annotations

import argparse

from audits.cli._exits import positive
from audits.cli._options import add_reports
from audits.evidence.experiment import TIERS

NAME, HELP = "bench", "times of HubRouter, attention, windows and Mamba on this machine, against their lower bounds"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is measured, where, and where to."""
    parser.add_argument("--tier", choices=TIERS, default="quick", help="a minute; the CPU's targets; a GPU's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", metavar="LAYER", help="these layers, and attention to compare with")
    parser.add_argument("--fresh", action="store_true", help="repeat runs that are in the ledger already")
    add_reports(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--profile",
        nargs="?",
        type=positive,
        const=8192,
        metavar="N",
        help="only show where a CPU's time goes, 8192 tokens",
    )
    instead.add_argument(
        "--roofline",
        nargs="?",
        const="h200",
        metavar="MACHINE",
        help="only estimate tier paper's least times on a machine",
    )
    parser.add_argument("--matmul-rate", type=positive, metavar="GFLOP/s", help="of the roofline, not the machine's")
    parser.add_argument("--copy-rate", type=positive, metavar="GB/s", help="of the roofline, not the machine's")
