"""The options that say what is audited and what it is fed: the same for every command that takes a TARGET."""

from __future__ import annotations

import argparse

from audits.subject.settings import Settings


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
