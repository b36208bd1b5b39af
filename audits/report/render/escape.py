"""Turning foreign text into safe XML and Markdown; HTML is escaped by jinja2."""

from __future__ import annotations

import re

# XML 1.0 forbids these even when escaped: control characters, lone surrogates, U+FFFE and U+FFFF.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$])")


def printable(text: str) -> str:
    """The text with U+FFFD in place of characters that no document may hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def markdown(text: str) -> str:
    """Text within a line of Markdown, in a table cell too; never at its start, where "#" and "-" have a meaning."""
    line = " ".join(printable(text).split()).replace("&", "&amp;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", line)


def code(text: str) -> str:
    """Text as a Markdown code span, safe in a table cell: fenced by more backticks than it holds."""
    line = " ".join(printable(text).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{line}{pad}{fence}"
