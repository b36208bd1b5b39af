"""What to do about the error of a model's first call: a line that names the option that would mend it."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from audits.subject.arguments import widths_taken
from audits.subject.settings import Settings

NEEDS_GPU = "it seems to need a GPU: run it where there is one, with --device cuda"
HINTS = {  # by a part of the error's message; the last one fits all
    "cuda": NEEDS_GPU,
    "nvidia": NEEDS_GPU,
    "meta tensor": "weights on the meta device hold no values: load or initialise them",
    "uninitialized parameter": "lazy modules have no weights yet: name a factory that calls the model once",
    "": "check --input, --vocab-size, --width, --seq-len, --dtype and --device",
}
OF_FLOATS = ("mat1 and mat2", "same dtype", "scalar type", "for 'long'", "long int", "longtensor", "expected input")
SIZES = re.compile(r"size of tensor \w+ \((\d+)\) must match the size of tensor \w+ \((\d+)\)")


def hint(error: Exception | None, model: Any, settings: Settings) -> str:
    """What to do about an error, from its message and from what the model is made of."""
    message = str(error).lower()
    found = too_short(message, model, settings) or _of_features(message, model, settings)
    return found or next(hint for sign, hint in HINTS.items() if sign in message)


def too_short(message: str, model: Any, settings: Settings) -> str | None:
    """For a table of positions that is shorter than the sequence."""
    length, rows = settings.seq_len, {}
    if not isinstance(model, nn.Module):
        return None
    if "out of range" in message or "out of bounds" in message:
        rows = {name: m.num_embeddings for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    elif sizes := SIZES.search(message):
        smaller, larger = sorted(map(int, sizes.groups()))
        tables = (*model.named_parameters(), *model.named_buffers())
        rows = {name: smaller for name, table in tables if smaller in table.shape and larger == length}
    short = {name: count for name, count in rows.items() if 1 < count < length}
    name = max(short, key=lambda name: ("pos" in name, short[name]), default=None)
    return name and f"its table {name!r} has {short[name]} positions: give --seq-len {short[name]} or fewer"


def _of_features(message: str, model: Any, settings: Settings) -> str | None:
    """For a model of features that is given tokens."""
    widths = [width for _, width in widths_taken(model)]
    said = any(sign in message for sign in OF_FLOATS)
    said = said or (bool(widths) and not any(isinstance(module, nn.Embedding) for module in model.modules()))
    if settings.input != "tokens" or not said:
        return None
    return f"it seems to take features: give --input features --width {widths[0] if widths else 'D'}"
