"""Options that several commands share.

Help and typos need no torch: what is imported here imports none, and the names of executors are written out, which a
test holds to what the library offers.
"""

from __future__ import annotations

import argparse
from dataclasses import fields

from audits.cli._exits import positive
from audits.subject.settings import DTYPES, Settings

EXECUTORS = ("local", "slurm")


def add_subject_options(parser: argparse.ArgumentParser, *, batch: int, batch_help: str, dtype_help: str) -> None:
    """TARGET and the contract's options for its input."""
    parser.add_argument("target", metavar="TARGET", help="package.module:attribute or path/to/file.py:attribute")
    parser.add_argument("--input", choices=("tokens", "features"), default="tokens")
    parser.add_argument("--vocab-size", type=int, metavar="V", help="read from the model where absent")
    parser.add_argument("--width", type=int, metavar="D", help="features a position, for --input features")
    parser.add_argument("--seq-len", type=int, metavar="N", default=Settings.seq_len)
    parser.add_argument("--batch", type=int, metavar="B", default=batch, help=batch_help)
    parser.add_argument("--seed", type=int, metavar="S", default=0)
    parser.add_argument("--dtype", choices=DTYPES, help=dtype_help)
    parser.add_argument("--device", default="cpu")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options of these names ask for."""
    names = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in vars(options).items() if name in names})


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Where runs are executed."""
    parser.add_argument(
        "--executor", choices=EXECUTORS, default="local", help="processes on this machine, or jobs of Slurm"
    )
    parser.add_argument(
        "--workers", type=positive, metavar="W", help="runs at a time; one a core where absent, what Slurm gives there"
    )
    parser.add_argument(
        "--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="options of sbatch, such as partition=gpu time=120"
    )
    parser.add_argument(
        "--checkpoints", metavar="DIR", help="where runs keep their state, to go on from; the user's cache where absent"
    )


def add_reports(parser: argparse.ArgumentParser) -> None:
    """Where the reports are."""
    parser.add_argument("--reports", metavar="DIR", default="reports", help="the folder of reports and evidence")


def add_page(parser: argparse.ArgumentParser) -> None:
    """The page on the probes."""
    parser.add_argument("--page", metavar="FILE", help="also write what each probe can and cannot see, as Markdown")
