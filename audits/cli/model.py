"""`hubrouter-audit model TARGET`: what is audited, how thoroughly, and where to."""

from __future__ import annotations

import argparse

from audits.auditor.presets import PRESETS
from audits.cli._exits import positive_seconds
from audits.cli._options import add_subject_options
from audits.subject.settings import Settings

NAME, HELP = "model", "audit any PyTorch sequence model for causality leaks"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The contract's options."""
    rows, dtype = "most rows in one forward pass", "float64 where the model can be cast, else its own"
    add_subject_options(parser, batch=Settings.batch, batch_help=rows, dtype_help=dtype)
    parser.add_argument("--documents", metavar="NAME", help="an argument that must keep packed documents apart")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--probes", metavar="a,b,…", help="only these probes")
    which.add_argument("--preset", choices=tuple(PRESETS), help="all probes, or the fewest that see all planted leaks")
    parser.add_argument(
        "--budget", type=positive_seconds, metavar="SECONDS", help="start nothing more after so many seconds"
    )
    parser.add_argument("--json", metavar="FILE", help="write the result as JSON; - is standard output")
    parser.add_argument("--sarif", metavar="FILE", help="write the findings as SARIF 2.1.0")
    parser.add_argument("--html", metavar="FILE", help="write a page with the influence map")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML, one test case a probe")
    parser.add_argument("--badge", metavar="FILE", help="write a badge as JSON, for shields.io's endpoint")
