"""JSON that every reader accepts: no NaN, no Infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

_HUGE = 1e308  # stands for infinity, which JSON has no word for


def json_text(document: Any) -> str:
    """`document` as indented JSON ending in a newline; not-a-number becomes null, infinity +-1e308."""
    return json.dumps(json_able(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_able(value: Any) -> Any:
    """The same document in plain JSON values; anything JSON has no type for becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): json_able(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, bool | int):
        return value
    return [json_able(item) for item in value] if isinstance(value, Sequence) else str(value)


def fields(owner: object, paths: Mapping[str, str]) -> dict[str, Any]:
    """What lies at the end of each dotted path of attributes, by name; None where the way there ends before."""
    return {
        name: reduce(lambda at, part: getattr(at, part, None), path.split("."), owner) for name, path in paths.items()
    }


def _json_float(value: float) -> float | None:
    """A float JSON can hold."""
    if math.isnan(value):
        return None
    return math.copysign(_HUGE, value) if math.isinf(value) else value
