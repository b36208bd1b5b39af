"""A text in two parts, before it is tokenised, and how a text without parts of its own is cut."""

from __future__ import annotations

from dataclasses import dataclass

VALIDATION_SHARE = 20  # one file (or byte) of so many is for validation
VALIDATION_CHARACTERS = 32_768  # a user's short file gives up to so many, at most a fifth of itself
BLOCK_CHARACTERS = 65_536  # long texts are tokenised in blocks, which bounds the tokeniser's memory


class CorpusError(Exception):
    """The corpus cannot be used; the message is one line that says what is wrong and how to mend it."""


@dataclass(frozen=True)
class Text:
    """A corpus before it is tokenised: documents in order, each in one part only."""

    name: str
    sha256: str
    train: tuple[str, ...]
    valid: tuple[str, ...]


def cut(text: str) -> tuple[str, str]:
    """The text without its end, and its end for validation: the last twentieth, more of a short text."""
    held_out = max(len(text) // VALIDATION_SHARE, min(VALIDATION_CHARACTERS, len(text) // 5))
    return text[: len(text) - held_out], text[len(text) - held_out :]


def blocks(text: str) -> tuple[str, ...]:
    """The text in pieces of at most `BLOCK_CHARACTERS`."""
    return tuple(text[at : at + BLOCK_CHARACTERS] for at in range(0, len(text), BLOCK_CHARACTERS))
