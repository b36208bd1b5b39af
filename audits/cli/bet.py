"""`hubrouter-audit bet TARGET`: prove a leak by winning bets that no causal model wins."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields

from rich.console import Console
from rich.text import Text

from audits.betting import BetConfig, BetResult, BetVerdict, bet, explain
from audits.cli._exits import FOUND, OK
from audits.cli._outputs import console_beside, target_beside, write_outputs
from audits.cli._target import load
from audits.report.audit.bet_html import bet_html
from audits.subject.options import settings_of


def run(options: argparse.Namespace) -> int:
    """Run the test, write the files, print; 1 for a certificate of a leak, 0 without one, which is not a PASS."""
    console = console_beside(options)
    with target_beside(options):
        result = _result(options, console)
    write_outputs(options, {"html": lambda: bet_html(result), "json": result.to_json})
    for index, line in enumerate(explain(result)):
        console.print(Text(line, style="bold" if index == 0 else ""), soft_wrap=True)
    return FOUND if result.verdict is BetVerdict.LEAK else OK


def _result(options: argparse.Namespace, console: Console) -> BetResult:
    given = {field.name: getattr(options, field.name) for field in fields(BetConfig)}
    given |= {name: tuple(given[name]) for name in ("alphabets", "freeze") if given[name] is not None}
    config = BetConfig(**{name: value for name, value in given.items() if value is not None})
    model = load(options)
    with console.status("betting …") as status:

        def watch(step: int, log: float) -> None:
            status.update(f"step {step} of {config.steps}: wealth 10^{log / math.log(10):.1f}")

        return bet(model, settings_of(vars(options)), config, target=options.target, watch=watch)
