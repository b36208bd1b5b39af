"""The options that say what is audited and what it is fed: the same for every command that takes a TARGET."""

from __future__ import annotations

import argparse

from audits.subject.subject import DTYPES, Settings


def add_subject_options(parser: argparse.ArgumentParser, *, batch: int, batch_help: str, dtype_help: str) -> None:
    """TARGET and the contract's options for its input."""
    parser.add_argument("target", metavar="TARGET", help="package.module:attribute or path/to/file.py:attribute")
    parser.add_argument("--input", choices=("tokens", "features"), default="tokens")
    parser.add_argument("--vocab-size", type=int, metavar="V", help="read from the model where absent")
    parser.add_argument("--width", type=int, metavar="D", help="features a position, for --input features")
    parser.add_argument("--seq-len", type=int, metavar="N", default=Settings.seq_len)
    parser.add_argument("--batch", type=int, metavar="B", default=batch, help=batch_help)
    parser.add_argument("--seed", type=int, metavar="S", default=0)
    parser.add_argument("--dtype", choices=tuple(DTYPES), help=dtype_help)
    parser.add_argument("--device", default="cpu")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings those options ask for."""
    return Settings(
        input=options.input,
        vocab_size=options.vocab_size,
        width=options.width,
        seq_len=options.seq_len,
        batch=options.batch,
        seed=options.seed,
        dtype=options.dtype,
        device=options.device,
    )
