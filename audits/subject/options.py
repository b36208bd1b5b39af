"""The options by which a user says what a subject is fed, and under which contract, for commands and pytest alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from audits.subject.contract import ROLES, Contract
from audits.subject.settings import DTYPES, Settings, SubjectError

TARGET = "package.module:attribute or path/to/file.py:attribute"
# As argparse takes them; an option that is not given is None, and leaves the default of `Settings`.
INPUTS: dict[str, dict[str, Any]] = {
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
# Which output may depend on which input, where it is not the input's past.
CONTRACT: dict[str, dict[str, Any]] = {
    "lookahead": {"type": int, "metavar": "K", "help": "output t may depend on inputs up to t + K"},
    "strict": {"action": "store_true", "help": "output t may depend on inputs before t only"},
    "prefix": {"type": int, "metavar": "K", "help": "every output may depend on the first K inputs (prefix-LM)"},
    "hop": {"type": int, "metavar": "H", "help": "H inputs for each output frame (codecs, strides, patches)"},
    "role": {
        "action": "append",
        "metavar": "NAME=ROLE",
        "help": f"what an argument is: {', '.join(ROLES)}; with a kind where that helps: actions=before:features:4",
    },
    "output": {"metavar": "PATH", "help": "which of what the model returns: keys, attributes, indices joined by dots"},
    "input-axis": {"metavar": "A", "help": "where time lies in the input: 2 for channels first, 2,3 for a raster (1)"},
    "output-axis": {"metavar": "A", "help": "the same of the output (1)"},
    "cache": {"metavar": "ARGUMENT[=RETURNED]", "help": "how the model takes, and returns, what it continues from"},
}


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings that those options ask for which have their names; None is an option that was not given."""
    names = (field.name for field in fields(Settings))
    said = {name: given[name] for name in names if given.get(name) is not None}
    return Settings(**{"contract": contract_of(given), **said})


def contract_of(given: Mapping[str, Any]) -> Contract | None:
    """The contract that options of these names ask for; None where none was given.

    Raises:
        SubjectError: they say nothing that can hold.
    """
    said = {name.replace("-", "_"): given.get(name.replace("-", "_")) for name in CONTRACT}
    kept: dict[str, Any] = {name: value for name, value in said.items() if value not in (None, False)}
    roles = [role.partition("=") for role in kept.pop("role", ())]
    if wrong := next((name for name, _, role in roles if not role), None):
        raise SubjectError(f"--role {wrong} says no role: give NAME=ROLE, a role being one of {', '.join(ROLES)}")
    for name in {"input_axis", "output_axis"} & set(kept):
        kept[name] = _axes(name, kept[name])
    if roles:
        kept["inputs"] = {name: role for name, _, role in roles}
    return Contract(**kept) if kept else None


def _axes(name: str, text: str) -> int | tuple[int, int]:
    parts = text.split(",")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise SubjectError(f"--{name.replace('_', '-')} {text}: give an axis, or two of a raster as in 2,3")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))
