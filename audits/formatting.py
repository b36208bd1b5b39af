"""Explicit rules by which numbers, errors and tables become text: no report depends on `repr` or on the platform."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass

MISSING = "n/a"


@dataclass(frozen=True)
class Table:
    """A small table; its cells are already formatted for reading."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits; scientific below 1e-3 and from 1e5 on ("3.2e-7"); None is "n/a"."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "minus infinite")
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def perplexity(nats: float | None) -> str:
    """exp(nats per token) with one decimal, none from 1000 on; "beyond range" where it overflows."""
    if nats is None or not math.isfinite(nats):
        return MISSING
    if nats > 700:
        return "beyond range"
    value = math.exp(nats)
    return f"{value:.1f}" if value < 1000 else number(value, 4)


def p_text(p: float) -> str:
    """A p value to two significant digits, without pretending to know the far tail."""
    return "< 1e-6" if p < 1e-6 else f"{p:.2g}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f} %"


def count(amount: int, singular: str, plural: str | None = None) -> str:
    """An amount with its noun: "1 run", "1,200 steps"."""
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"


def file_name(text: str) -> str:
    """A text, which may come from a record, as the name of a file: letters, digits, "_", "+", "-" and inner dots."""
    return re.sub(r"[^\w+.-]", "-", text).strip(".") or "-"


def visible(text: str) -> str:
    """The text with whatever would steer a terminal shown as an escape."""
    return "".join(c if c.isprintable() or c in "\t\n\xa0" else c.encode("unicode_escape").decode() for c in text)


def first_line(problem: object) -> str:
    """The first line of an error's message, at most 300 characters; empty where it has none."""
    return next(iter(str(problem).strip().splitlines()), "")[:300]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """What somebody may have meant by a name that is not known; all that are, where none is close."""
    near = difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(dict.fromkeys(known))}"


def error_text(problem: BaseException) -> str:
    """An error on one line: "ValueError: the message's first line"; its type alone where it has no message."""
    message = first_line(problem)
    return f"{type(problem).__name__}: {message}" if message else type(problem).__name__
