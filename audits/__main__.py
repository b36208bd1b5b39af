"""`hubrouter-audit`, or `python -m audits`: finds the command, runs it, and turns every known error into one line."""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from audits import __version__
from audits.cli._commands import COMMANDS
from audits.cli._exits import CANNOT_RUN, INTERRUPTED, CommandError

REPOSITORY = "https://github.com/hubrouter-audit/hubrouter-audit"


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
            near = difflib.get_close_matches(str(value), map(str, action.choices), n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(map(str, action.choices))}"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {hint}")

    def error(self, message: str) -> NoReturn:
        """Print the error and how to find help, and exit."""
        self.exit(CANNOT_RUN, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        code = _run(options)
    except ModuleNotFoundError as problem:
        return _say(_how_to_install(options.command, problem), CANNOT_RUN)
    except KeyboardInterrupt:
        return _say("interrupted; what was finished is kept, no file was changed half-way", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return CANNOT_RUN
    except Exception as problem:
        if type(problem).__module__.split(".")[0] != __package__:
            raise
        # An error class of this project says what is wrong and how to fix it.
        return _say(" ".join(str(problem).split()), getattr(problem, "code", CANNOT_RUN))
    return code


def _parser() -> argparse.ArgumentParser:
    """The options of every command."""
    known = _OneLineParser(prog="hubrouter-audit", description="Finds where a sequence model sees its future.")
    known.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = known.add_subparsers(required=True, metavar="COMMAND", parser_class=_OneLineParser)
    for name, described in COMMANDS.items():
        command = commands.add_parser(name, help=described.help, description=described.help)
        described.add_options(command)
        command.set_defaults(command=name)
    return known


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = importlib.import_module(f"audits.cli.{options.command}").run(options)
    except SystemExit as stopped:
        raise CommandError(f"something ended the process with {stopped.code!r} before there was a verdict") from stopped
    return code


def _how_to_install(command: str, problem: ModuleNotFoundError) -> str:
    """What a command needs that is not here, and the one line that installs it."""
    extras = COMMANDS[command].extras
    package = f"hubrouter-audit[{extras}]" if extras else "hubrouter-audit"
    if extras and importlib.util.find_spec("audits.experiments") is None:  # in an installed wheel
        return f'{command} needs the repository: git clone {REPOSITORY} && pip install -e "{package}"'
    return f'{command} needs {problem.name}: pip install "{package}"'


def _say(message: str, code: int) -> int:
    sys.stderr.write(f"hubrouter-audit: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
