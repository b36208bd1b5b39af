"""`hubrouter-audit`, or `python -m audits`: finds the command, and runs it."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from audits import __version__
from audits.cli._commands import COMMANDS
from audits.cli._ending import Interrupts, failed, finished, open_streams
from audits.cli._exits import CANNOT_RUN
from audits.cli._isolation import handover, isolated
from audits.cli._outputs import check_outputs
from audits.formatting import did_you_mean


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, and say what a mistyped option may have meant."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse what is unknown here, where the command is known whose options and help are meant."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            unknown = [word for word in unknown if word.startswith("-")] or unknown
            near = difflib.get_close_matches(unknown[0].partition("=")[0], self._option_string_actions, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        if getattr(found, "target", "") is None:
            self.error("the following arguments are required: TARGET")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a command or a choice that does not exist, with the one that it may have meant."""
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(str(value), [*map(str, action.choices)])
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {hint}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print; what cannot be printed is an error here."""
        stream = file or sys.stderr
        stream.write(message)
        stream.flush()

    def error(self, message: str) -> NoReturn:
        """Print the error and how to find help, and exit."""
        self.exit(CANNOT_RUN, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options, interrupts = argparse.Namespace(command="", debug=False), Interrupts()
    closed, parent = open_streams(), handover()
    try:
        with interrupts.noted():
            _parser().parse_args(arguments, options)
            check_outputs(options, closed=closed)
            if parent is None and getattr(options, "isolate", False):
                return isolated(sys.argv[1:] if arguments is None else arguments, options)
            code: int = importlib.import_module(f"audits.cli.{options.command}").run(options)
    except BaseException as problem:
        if isinstance(problem, SystemExit) and not options.command:  # help, version, or a mistake that has been named
            raise SystemExit(finished(int(problem.code or 0))) from None
        code = failed(problem, options, interrupts)
    code = finished(code)
    if parent is not None:
        parent.give(code)
    return code


def _parser() -> argparse.ArgumentParser:
    """The options of every command."""
    known = _OneLineParser(prog="hubrouter-audit", description="Finds where a sequence model sees its future.")
    known.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = known.add_subparsers(required=True, metavar="COMMAND", parser_class=_OneLineParser)
    for name, described in COMMANDS.items():
        command = commands.add_parser(name, help=described.help, description=described.help)
        described.add_options(command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.set_defaults(command=name)
    return known


if __name__ == "__main__":
    sys.exit(main())
