"""Marks of verdicts in a terminal."""

from __future__ import annotations

from rich.text import Text

from audits.report.render.marks import Mark

COLOURS = {"pass": "green", "fail": "red", "neutral": "yellow", "error": "magenta"}


def marked(mark: Mark) -> Text:
    """A mark in its colour; never parsed for console markup."""
    return Text(mark.text, style=f"bold {COLOURS[mark.tone]}")
