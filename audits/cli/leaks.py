"""`hubrouter-audit leaks`: which planted leaks, and where to."""

from __future__ import annotations

import argparse

from audits.cli._exits import positive

NAME, HELP = "leaks", "the kill matrix: every planted leak against every probe, clean controls included"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which leaks, and where to."""
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these planted leaks")
    parser.add_argument("--workers", type=positive, metavar="W", help="processes at a time; one a core where absent")
    parser.add_argument("--json", metavar="FILE", help="write the matrix as JSON")
