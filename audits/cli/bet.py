"""`hubrouter-audit bet TARGET`: prove a leak by winning bets that no causal model wins."""

from __future__ import annotations

import argparse
import math

from rich.console import Console
from rich.text import Text

from audits.betting import BetConfig, BetResult, BetVerdict, bet, explain
from audits.cli._commands import settings_of
from audits.cli._exits import FOUND, OK, CommandError
from audits.cli._outputs import check_outputs, console_beside, write_outputs
from audits.report.audit.bet_html import bet_html
from audits.subject.target import load_target


def run(options: argparse.Namespace) -> int:
    """Run the test, print, write the files; 1 for a certificate of a leak, 0 without one, which is not a PASS."""
    check_outputs(options, ["html"])
    with console_beside(options) as console:
        result = _result(options, console)
        for index, line in enumerate(explain(result)):
            console.print(Text(line, style="bold" if index == 0 else ""), soft_wrap=True)
    write_outputs(options, {"html": lambda: bet_html(result), "json": result.to_json})
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
