"""The options by which a user says what a subject is fed: one table for the command line and for pytest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from audits.subject.settings import DTYPES, Settings

TARGET = "package.module:attribute or path/to/file.py:attribute"
# As argparse takes them; an option that is not given is None, and leaves the default of `Settings`.
INPUTS: Mapping[str, dict[str, Any]] = {
    "input": {"choices": ("tokens", "features"), "help": "what the model takes (tokens)"},
    "vocab-size": {"type": int, "metavar": "V", "help": "read from the model where absent"},
    "width": {"type": int, "metavar": "D", "help": "features a position, for features as input"},
    "seq-len": {"type": int, "metavar": "N", "help": f"tokens a sequence ({Settings.seq_len})"},
    "batch": {"type": int, "metavar": "B", "help": f"rows in one forward pass, at most ({Settings.batch})"},
    "seed": {"type": int, "metavar": "S", "help": "of everything drawn (0)"},
    "dtype": {"choices": DTYPES, "help": "float64 where the model can be cast, else its own"},
    "documents": {"metavar": "NAME", "help": "an argument that must isolate packed documents"},
    "device": {"metavar": "NAME", "help": "cpu where absent"},
}


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings that those options ask for which have their names; None is an option that was not given."""
    names = (field.name for field in fields(Settings))
    return Settings(**{name: given[name] for name in names if given.get(name) is not None})
