"""The files that a command writes: looked at before the work, written whole after it, before printing."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from audits.cli._exits import CommandError
from audits.report.write import STANDARD_OUTPUT, Destination, check_writable, write_text, write_through

if TYPE_CHECKING:
    from rich.console import Console

OUTPUTS = ("json", "sarif", "html", "junit", "badge", "page")  # options of all commands that name a file to write
STDOUT = "-"


def check_outputs(options: argparse.Namespace, *, closed: bool) -> None:
    """Before the work of any command, refuse outputs that cannot be written, overwrite each other or go nowhere.

    `closed` says whether standard output is.
    """
    given = vars(options)
    files = {name: given[name] for name in OUTPUTS if given.get(name) is not None}
    others = [f"--{name}" for name in OUTPUTS if name in given and name != "json"]
    if STDOUT in [path for name, path in files.items() if name != "json"]:
        raise CommandError(f"only --json can go to standard output: name a file for {', '.join(others)}")
    places = {_identity(_destination(path)) for path in files.values() if path}
    if len(places) < len(files):
        raise CommandError(f"every output needs a file, and a different one: {', '.join(['--json', *others])}")
    if closed and STANDARD_OUTPUT in places:
        raise CommandError("standard output is closed, and takes no document: name a file")


def is_stdout(path: str | None) -> bool:
    """Whether an output goes to standard output, by whatever name."""
    return bool(path) and _destination(str(path)).descriptor == STANDARD_OUTPUT


@contextlib.contextmanager
def target_beside(options: argparse.Namespace) -> Iterator[None]:
    """Around code of the target: what it prints does not spoil a JSON document on standard output."""
    with contextlib.redirect_stdout(sys.stderr if is_stdout(options.json) else sys.stdout):
        yield


def console_beside(options: argparse.Namespace) -> Console:
    """The console to print to: standard error where standard output takes the document."""
    from audits.report.render.console import console

    return console(stderr=is_stdout(options.json))


def write_outputs(options: argparse.Namespace, renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write each output that was asked for, standard output last; the first that fails is raised after the others."""
    problems: list[Exception] = []
    asked = [(getattr(options, name), render) for name, render in renderers.items() if getattr(options, name)]
    for path, render in sorted(asked, key=lambda item: is_stdout(item[0])):
        try:
            write_through(STANDARD_OUTPUT, render()) if path == STDOUT else write_text(Path(path), render())
        except Exception as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


def _destination(path: str) -> Destination:
    if path == STDOUT:
        return Destination(Path(STDOUT), STANDARD_OUTPUT)
    return check_writable(Path(path))


def _identity(destination: Destination) -> object:
    """Equal for two names of one place."""
    if destination.descriptor is not None:
        return destination.descriptor
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(destination.file)  # noqa: PTH116 - as for descriptors
        return found.st_dev, found.st_ino
    return os.path.normcase(destination.file)
