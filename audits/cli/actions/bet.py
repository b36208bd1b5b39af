"""`hubrouter-audit bet TARGET`: prove a leak by winning bets that no causal model wins."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from audits.betting import BetConfig, BetResult, BetVerdict, bet, explain
from audits.cli._exits import FOUND, OK, CommandError
from audits.cli.actions._settings import settings_of
from audits.report.audit.bet_html import bet_html
from audits.report.write import ReportError, write_text
from audits.subject.settings import SubjectError
from audits.subject.target import load_target


def run(options: argparse.Namespace) -> int:
    """Run the test, print, write the files; 1 for a certificate of a leak, 0 without one, which is not a PASS."""
    _check_outputs(options)
    to_stdout = options.json == "-"
    console = Console(stderr=to_stdout)
    # Whatever the target prints must not spoil a JSON document on standard output.
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        try:
            result = _result(options, console)
        except SubjectError as problem:
            raise CommandError(str(problem)) from problem
        for index, line in enumerate(explain(result)):
            console.print(Text(line, style="bold" if index == 0 else ""), soft_wrap=True)
    _write(result, options)
    return FOUND if result.verdict is BetVerdict.LEAK else OK


def _result(options: argparse.Namespace, console: Console) -> BetResult:
    given = {name: getattr(options, name) for name in ("alpha", "steps", "seconds", "ahead", "lr")}
    given["alphabets"] = _sizes(options.alphabets) if options.alphabets is not None else None
    config = BetConfig(
        **{name: value for name, value in given.items() if value is not None},
        freeze=tuple(options.freeze),
        training_mode=options.training_mode,
        to_the_end=options.to_the_end,
    )
    model = load_target(options.target)
    with console.status("betting …") as status:

        def watch(step: int, log: float) -> None:
            status.update(f"step {step} of {config.steps}: wealth 10^{log / math.log(10):.1f}")

        return bet(model, settings_of(options), config, target=options.target, watch=watch)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise CommandError(f"--alphabets {text!r} must be numbers of symbols such as 2,16") from None


def _check_outputs(options: argparse.Namespace) -> None:
    """Before the work: outputs that would overwrite each other or go nowhere."""
    if "" in (options.json, options.html) or (options.html is not None and options.html in (options.json, "-")):
        raise CommandError("--json and --html need a file each, and different ones; only --json can be -")


def _write(result: BetResult, options: argparse.Namespace) -> None:
    """Everything rendered first, then written whole; standard output last."""
    texts = {options.html: bet_html(result)} if options.html else {}
    if options.json and options.json != "-":
        texts[options.json] = result.to_json()
    try:
        for path, text in texts.items():
            write_text(Path(path), text)
    except ReportError as problem:
        raise CommandError(str(problem)) from problem
    if options.json == "-":
        sys.stdout.write(result.to_json())
