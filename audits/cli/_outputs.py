"""The files that a command writes: looked at before the work, written whole after it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from audits.cli._exits import CommandError
from audits.report.write import check_writable, write_texts


def check_outputs(options: argparse.Namespace, others: Sequence[str]) -> None:
    """Before the work: refuse outputs that would overwrite each other or go nowhere.

    Args:
        options: of the command, `json` among them.
        others: the names of its other outputs, which only a file can take.
    """
    files = {name: getattr(options, name) for name in ("json", *others) if getattr(options, name) is not None}
    if "" in files.values() or len({os.path.realpath(path) for path in files.values()}) < len(files):
        raise CommandError("every output needs a file, and a different one: --json, --" + ", --".join(others))
    if "-" in [path for name, path in files.items() if name != "json"]:
        raise CommandError("only --json can go to standard output: name a file for --" + ", --".join(others))
    for path in files.values():
        if path != "-":
            check_writable(Path(path))


@contextlib.contextmanager
def console_beside(options: argparse.Namespace) -> Iterator[Console]:
    """The console to print to; whatever the target prints does not spoil a JSON document on standard output either."""
    to_stdout = options.json == "-"
    with contextlib.redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        yield Console(stderr=to_stdout)


def write_outputs(options: argparse.Namespace, renderers: Mapping[str, Callable[[], str]]) -> None:
    """Write each output that was asked for: everything rendered first, standard output last."""
    texts = {getattr(options, name): render() for name, render in renderers.items() if getattr(options, name)}
    document = texts.pop("-", "")
    write_texts({Path(path): text for path, text in texts.items()})
    sys.stdout.write(document)
