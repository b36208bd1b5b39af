"""`hubrouter-audit report`: where the evidence is."""

from __future__ import annotations

import argparse

from audits.cli._options import add_page, add_reports

NAME, HELP = "report", "rebuild the reports from the evidence on disk; runs no experiment"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the evidence is."""
    add_reports(parser)
    add_page(parser)
