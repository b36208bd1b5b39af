"""Sizes of the tiny models, and what single architectures of transformers need: `transformers.toml`, next to this."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

SEQ_LEN = 40
WINDOW = 8  # positions of every window, chunk and block, at most
POSITIONS = 128  # that models are given
LONGEST = POSITIONS // 2  # sequence length: repeated calls use twice of it

_TABLE = tomllib.loads(files("audits.survey").joinpath("transformers.toml").read_text(encoding="utf-8"))
SIZES: tuple[tuple[str, int], ...] = tuple((pattern, size) for size, *names in _TABLE["sizes"] for pattern in names)
SPREADS: dict[str, float] = _TABLE["spreads"]
FIXUPS: dict[str, dict[str, Any]] = {name: row["settings"] for row in _TABLE["fixup"] for name in row["names"]}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {}  # by architecture and the variant's name
for _row in _TABLE["variant"]:
    for _name in _row["names"]:
        VARIANTS.setdefault(_name, {})[_row["variant"]] = _row["settings"]
