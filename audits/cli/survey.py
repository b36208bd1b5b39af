"""`hubrouter-audit survey LIBRARY`: what is fed, within which limits, and where to."""

from __future__ import annotations

import argparse

import audits.survey.libraries as libraries
from audits.cli._exits import positive
from audits.discovery import names_in
from audits.subject.settings import Settings
from audits.survey.fixups import LONGEST, SEQ_LEN

NAME, HELP = "survey", "build every causal language model of a library, tiny and without a download, and audit each"

SECONDS = 300  # for one architecture; most take below ten on a machine that does nothing else


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which library, what is fed, within which limits, where to."""
    add = parser.add_argument
    add("library", metavar="LIBRARY", choices=names_in(libraries), help=f"one of {', '.join(names_in(libraries))}")
    add("--only", nargs="+", metavar="NAME", help="only these, by registered name or by class; exit by them")
    add("--seq-len", type=int, metavar="N", default=SEQ_LEN, help=f"tokens a sequence ({SEQ_LEN}; at most {LONGEST})")
    add("--batch", type=int, metavar="B", default=Settings.batch, help="most rows in one forward pass")
    add("--seed", type=int, metavar="S", default=0, help="of weights and inputs")
    add("--workers", type=positive, metavar="W", help="processes at a time; one a core where absent")
    add("--time-limit", type=positive, metavar="SECONDS", default=SECONDS, help=f"for one architecture ({SECONDS})")
    add("--memory-limit", type=positive, metavar="GIB", default=6, help="for one architecture (6)")
    add("--fresh", action="store_true", help="repeat runs that are in the evidence already")
    add("--out", metavar="DIR", default="reports/survey", help="the folder of the tables and their evidence")
