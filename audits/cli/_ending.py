"""How a command ends: whatever happened becomes one line on standard error and an exit code of the contract."""

from __future__ import annotations

import argparse
import errno
import importlib.util
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from audits.cli._commands import COMMANDS
from audits.cli._exits import CANNOT_RUN, INTERRUPTED
from audits.formatting import visible
from audits.report.write import STANDARD_OUTPUT, discard

REPOSITORY = "https://github.com/hubrouter-audit/hubrouter-audit"
PACKAGE = "audits"
_UNPRINTED = {errno.EBADF, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPIPE}  # what a stream says that takes no more


class Interrupts:
    """Whether the user has interrupted this process; a model may raise KeyboardInterrupt as well."""

    def __init__(self) -> None:
        self.seen = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note every interrupt while this holds; only the main thread is told of them."""
        plain = threading.current_thread() is threading.main_thread()
        if not plain or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.seen = True  # who else handles them raises KeyboardInterrupt for the user
            yield
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        signal.default_int_handler(number, frame)


def open_streams() -> bool:
    """Make standard output and error writable with any text; returns whether standard output was closed.

    A closed one becomes the null device, or the next file that is opened would take its place.
    """
    closed = sys.stdout is None
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            discard(descriptor)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", encoding="utf-8", closefd=False))
        elif descriptor and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character shows its number
    return closed


def say(message: str) -> None:
    """One line on standard error, if that takes it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"hubrouter-audit: {' '.join(visible(message).split())}\n")
        sys.stderr.flush()


def finished(code: int) -> int:
    """The exit code once all that was printed has been taken by whom it is for."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as problem:
        say(f"standard output cannot be written: {getattr(problem, 'strerror', None) or problem}")
        with suppress(OSError):  # or Python tries once more when it ends, and exits with a code of its own
            discard(STANDARD_OUTPUT)
        return CANNOT_RUN
    return code


def failed(problem: BaseException, options: argparse.Namespace, interrupts: Interrupts) -> int:
    """Say what went wrong; the exit code for it."""
    if options.debug:
        with suppress(Exception):
            traceback.print_exception(problem)
    problem = _refusal_of_a_pipe(problem) or problem
    if isinstance(problem, KeyboardInterrupt) and interrupts.seen:
        say("interrupted; what was finished is kept, no file was changed half-way")
        return INTERRUPTED
    say(_explained(problem, options))
    code = getattr(problem, "code", CANNOT_RUN) if _is_ours(problem) else CANNOT_RUN
    return code if isinstance(code, int) else CANNOT_RUN


def _refusal_of_a_pipe(problem: BaseException) -> BrokenPipeError | None:
    """What a console met that nobody reads any more, as with `| head`: rich ends the process with 1 then."""
    frames = traceback.extract_tb(problem.__traceback__)
    refused = problem.__context__
    by_rich = isinstance(problem, SystemExit) and frames and frames[-1].name == "on_broken_pipe"
    return refused if by_rich and isinstance(refused, BrokenPipeError) else None


def _is_ours(problem: BaseException) -> bool:
    """Whether its class is of this project: then it says what is wrong and how to mend it."""
    return type(problem).__module__.split(".")[0] == PACKAGE


def _explained(problem: BaseException, options: argparse.Namespace) -> str:
    if _is_ours(problem):
        return _text(problem)
    if isinstance(problem, OSError) and problem.filename is None and problem.errno in _UNPRINTED:
        return f"not all could be printed: {problem.strerror}; files that were asked for are written"
    if isinstance(problem, ModuleNotFoundError) and problem.name and options.command in COMMANDS:
        return _how_to_install(options.command, problem.name)
    if isinstance(problem, SystemExit | KeyboardInterrupt):
        how = f"with {problem.code!r}" if isinstance(problem, SystemExit) else "as if it were interrupted"
        return f"something ended the process {how} before there was a verdict"
    text = _text(problem)
    return (
        f"{type(problem).__name__}{': ' if text else ''}{text} (not expected here; --debug shows where it comes from)"
    )


def _text(problem: BaseException) -> str:
    """The message of an error, which may itself raise one."""
    try:
        return str(problem)
    except Exception:
        return ""


def _how_to_install(command: str, missing: str) -> str:
    extras = COMMANDS[command].extras
    package = f"hubrouter-audit[{extras}]" if extras else "hubrouter-audit"
    if extras and importlib.util.find_spec("audits.experiments") is None:  # in an installed wheel
        return f'{command} needs the repository: git clone {REPOSITORY} && pip install -e "{package}"'
    return f'{command} needs {missing}: pip install "{package}"'
