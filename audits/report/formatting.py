"""Explicit rules by which numbers become text, so that a report never depends on `repr` or on the platform."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "n/a"
_HUGE = 1e308  # stands for infinity in JSON, which has no word for it


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits; scientific below 1e-3 and from 1e5 on ("3.2e-7"); None is "n/a"."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return _scientific(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _scientific(value: float, digits: int) -> str:
    """Mantissa without trailing zeros and a bare exponent."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def perplexity(nats: float | None) -> str:
    """exp(nats per token) with one decimal, none from 1000 on; "beyond range" where it overflows."""
    if nats is None or not math.isfinite(nats):
        return MISSING
    if nats > 700:
        return "beyond range"
    value = math.exp(nats)
    return f"{value:.1f}" if value < 1000 else number(value, 4)


def count(amount: int, singular: str, plural: str | None = None) -> str:
    """An amount with its noun: "1 run", "1,200 steps"."""
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def json_text(document: Any) -> str:
    """`document` as indented JSON ending in a newline; not-a-number becomes null, infinity +-1e308."""
    return json.dumps(_json_able(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_able(value: Any) -> Any:
    """The same document in plain JSON values; anything JSON has no type for becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): _json_able(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return _json_float(value)
    if value is None or isinstance(value, bool | int):
        return value
    return [_json_able(item) for item in value] if isinstance(value, Sequence) else str(value)


def _json_float(value: float) -> float | None:
    """A float JSON can hold."""
    if math.isnan(value):
        return None
    return math.copysign(_HUGE, value) if math.isinf(value) else value
